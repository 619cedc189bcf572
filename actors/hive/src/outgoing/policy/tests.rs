use std::sync::LazyLock;

use deia_model::{NewWebhook, schema::Entity};
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn with_http() -> ReachPolicy {
    ReachPolicy {
        allow_http: true,
        ..ReachPolicy::new("webhooks")
    }
}

fn with_networks(networks: &[&str]) -> ReachPolicy {
    ReachPolicy {
        allow_networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
        ..with_http()
    }
}

fn refused(policy: &ReachPolicy, text: &str) -> RefusalReason {
    let Err(refusal) = policy.check_url(text) else {
        panic!("{text} is allowed")
    };
    assert!(!refusal.to_string().is_empty());
    refusal.reason
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Fails unless the schema of an endpoint takes the same URLs as the policy reads. Two things
/// no pattern can tell: which addresses and which names in Punycode there are, and the length
/// of a URL once it is percent-encoded.
fn assert_schema_agrees(text: &str) {
    static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
        let example = json!({"url": "https://example.com/"});
        let entity = Entity::of_input::<NewWebhook>("NewWebhook", &example).unwrap();
        jsonschema::validator_for(&entity.schema).unwrap()
    });
    let fits = SCHEMA.is_valid(&json!({ "url": text }));
    match spelling::read(text) {
        Ok(_) => assert!(fits, "{text} is read"),
        Err(RefusalReason::Malformed("the host or the port is not valid"))
            if text.contains('[') || text.to_lowercase().contains("xn--") => {}
        Err(RefusalReason::TooLong { .. }) if !text.is_ascii() => {}
        Err(reason) => assert!(!fits, "{text}: {reason:?}"),
    }
}

#[test]
fn known_urls_are_refused_as_the_design_says() {
    let text = include_str!("../../../../../tests/vectors/ssrf.json");
    let all: Value = serde_json::from_str(text).unwrap();
    let urls = all["refuse_urls"].as_array().unwrap();
    assert!(urls.len() > 10);
    for url in urls {
        let url = url.as_str().unwrap();
        refused(&with_http(), url);
        assert_schema_agrees(url);
        refused(&with_http(), &url.replacen("http:", "https:", 1));
    }
    for list in ["refuse_addresses", "refuse_always", "allow_addresses"] {
        for address in all[list].as_array().unwrap() {
            let address: IpAddr = address.as_str().unwrap().parse().unwrap();
            let url = match address {
                IpAddr::V4(v4) => format!("https://{v4}/"),
                IpAddr::V6(v6) => format!("https://[{v6}]/"),
            };
            let allowed = list == "allow_addresses";
            assert_eq!(with_http().check_url(&url).is_ok(), allowed, "{url}");
            let everything = with_networks(&["0.0.0.0/0", "::/0"]);
            let never = list == "refuse_always";
            if never || allowed {
                assert_eq!(everything.check_url(&url).is_ok(), allowed, "{url}");
            }
        }
    }
}

#[test]
fn plain_urls_are_allowed() {
    for (text, host, port) in [
        ("https://example.com", "example.com", 443),
        ("HTTPS://EXAMPLE.com/Hook?token=a%20b", "example.com", 443),
        ("https://example.com:8443/", "example.com", 8443),
        ("https://example.com:443/", "example.com", 443),
        ("https://example.com./", "example.com.", 443),
        (
            "https://hooks_1.example.co.uk/a/../b",
            "hooks_1.example.co.uk",
            443,
        ),
        (
            "https://xn--bcher-kva.example/",
            "xn--bcher-kva.example",
            443,
        ),
        ("https://8.8.8.8/", "8.8.8.8", 443),
        (
            "https://[2606:4700:4700::1111]/",
            "2606:4700:4700::1111",
            443,
        ),
        (
            "https://[2606:4700:4700:0::0:1111]:8443/",
            "2606:4700:4700::1111",
            8443,
        ),
        ("https://example.com/@me", "example.com", 443),
        ("https://example.com?to=a@b.c", "example.com", 443),
    ] {
        let target = ReachPolicy::new("webhooks").check_url(text).unwrap();
        assert_eq!(target.host().to_string(), host, "{text}");
        assert_eq!(target.port(), port, "{text}");
        assert_eq!(target.scope(), Scope::PublicOrListed, "{text}");
        assert_schema_agrees(text);
    }
    for text in [
        "http://example.com/",
        "http://example.com:8080/",
        "https://example.com:80/",
    ] {
        assert!(with_http().check_url(text).is_ok(), "{text}");
        assert!(
            ReachPolicy::new("webhooks").check_url(text).is_err(),
            "{text}"
        );
    }
}

#[test]
fn each_refusal_has_its_reason() {
    let odd = |typed: &str, means: &str| RefusalReason::OddHost {
        typed: typed.into(),
        means: means.into(),
    };
    let no_host = RefusalReason::Malformed("it has no host");
    let port = RefusalReason::Malformed("the port is not a plain number from 1 to 65535");
    let parts = RefusalReason::Malformed("it has no scheme and host");
    let not_valid = RefusalReason::Malformed("the host or the port is not valid");
    let not_a_name = RefusalReason::Malformed("the host is not a DNS name");
    let non_ascii = |ascii: &str| RefusalReason::NonAsciiHost {
        ascii: Some(ascii.into()),
    };
    let internal = |name: &str| RefusalReason::InternalName(name.into());
    let metadata = |name: &str| RefusalReason::MetadataName(name.into());
    let long = format!("https://example.com/{}", "a".repeat(2_048));
    let encoded = format!("https://example.com/{}", "ü".repeat(500));
    let label = format!("https://{}.com/", "a".repeat(64));
    for (text, reason) in [
        ("", parts.clone()),
        ("example.com/hook", parts.clone()),
        ("https:/example.com/", parts),
        ("https:///example.com/", no_host.clone()),
        ("https://", no_host.clone()),
        ("https://:443/", no_host),
        ("ftp://example.com/", RefusalReason::Scheme("ftp".into())),
        ("file:///etc/passwd", RefusalReason::Scheme("file".into())),
        (" https://example.com/", RefusalReason::Character(' ')),
        ("https://exa\tmple.com/", RefusalReason::Character('\t')),
        ("https://example.com/\n", RefusalReason::Character('\n')),
        (
            "https://example.com\\@127.0.0.1/",
            RefusalReason::Character('\\'),
        ),
        ("https://user@example.com/", RefusalReason::Userinfo),
        ("https://:pw@example.com/", RefusalReason::Userinfo),
        ("https://@example.com/", RefusalReason::Userinfo),
        ("https://example.com/#a", RefusalReason::Fragment),
        ("https://example.com/#", RefusalReason::Fragment),
        ("https://127.1/", odd("127.1", "127.0.0.1")),
        ("https://0x08.8.8.8/", odd("0x08.8.8.8", "8.8.8.8")),
        ("https://8.8.8.010/", odd("8.8.8.010", "8.8.8.8")),
        ("https://134744072/", odd("134744072", "8.8.8.8")),
        ("https://8.8.8.8./", odd("8.8.8.8.", "8.8.8.8")),
        (
            "https://ex%61mple.com/",
            odd("ex%61mple.com", "example.com"),
        ),
        ("https://1.2.3.4.5/", not_valid.clone()),
        ("https://256.1.1.1/", not_valid.clone()),
        ("https://[::1/", not_valid.clone()),
        ("https://[fe80::1%25eth0]/", not_valid.clone()),
        ("https://example.com:99999/", not_valid),
        ("https://example.com:/", port.clone()),
        ("https://example.com:0443/", port.clone()),
        ("https://example.com:0/", port),
        (
            "https://bücher.example/",
            non_ascii("xn--bcher-kva.example"),
        ),
        ("https://①②⑦.⓪.⓪.①/", non_ascii("127.0.0.1")),
        ("https://example。com/", non_ascii("example.com")),
        ("https://exam$ple.com/", not_a_name.clone()),
        ("https://example..com/", not_a_name.clone()),
        (&label, not_a_name),
        ("https://localhost/", internal("localhost")),
        ("https://LOCALHOST./", internal("localhost.")),
        ("https://a.localhost/", internal("a.localhost")),
        ("https://receiver/", internal("receiver")),
        ("https://db.corp.internal/", internal("db.corp.internal")),
        ("https://printer.local/", internal("printer.local")),
        ("https://nas.home.arpa/", internal("nas.home.arpa")),
        ("https://metadata/", metadata("metadata")),
        (
            "https://metadata.google.internal./",
            metadata("metadata.google.internal."),
        ),
        ("https://a.metadata.goog/", metadata("a.metadata.goog")),
        ("https://example.com:22/", RefusalReason::Port(22)),
        ("https://8.8.8.8:6379/", RefusalReason::Port(6_379)),
        (
            &encoded,
            RefusalReason::TooLong {
                bytes: 20 + 500 * 6,
                limit: 2_048,
            },
        ),
        (
            &long,
            RefusalReason::TooLong {
                bytes: long.len(),
                limit: 2_048,
            },
        ),
    ] {
        assert_eq!(refused(&with_http(), text), reason, "{text}");
        assert_schema_agrees(text);
    }
    let plain = refused(&ReachPolicy::new("webhooks"), "http://example.com/");
    assert_eq!(plain, RefusalReason::PlainHttp { inside: false });
}

#[test]
fn listed_networks_open_ports_and_names_for_their_addresses_only() {
    let policy = with_networks(&["10.0.0.0/8"]);
    for text in [
        "http://receiver:9000/",
        "http://example.com:9000/",
        "https://db.internal/",
    ] {
        let target = policy.check_url(text).unwrap();
        assert_eq!(target.scope(), Scope::ListedOnly, "{text}");
        let inside = policy
            .check_addresses(&target, &addresses(&["10.1.2.3"]))
            .unwrap();
        assert_eq!(
            inside,
            [SocketAddr::new("10.1.2.3".parse().unwrap(), target.port())]
        );
        for outside in [&["8.8.8.8"][..], &["10.1.2.3", "8.8.8.8"], &["127.0.0.1"]] {
            let refusal = policy.check_addresses(&target, &addresses(outside));
            assert!(refusal.is_err(), "{text} {outside:?}");
        }
    }
    let literal = policy.check_url("http://10.1.2.3:9000/").unwrap();
    assert_eq!(literal.scope(), Scope::ListedOnly);
    assert_eq!(
        refused(&policy, "https://8.8.8.8:9000/"),
        RefusalReason::Port(9_000)
    );
    let other = refused(&policy, "https://192.168.0.1/");
    assert!(matches!(other, RefusalReason::Address { mixed: false, .. }));
    assert!(matches!(
        refused(&policy, "http://metadata.google.internal/"),
        RefusalReason::MetadataName(_)
    ));
}

#[test]
fn an_answer_is_used_whole_or_not_at_all() {
    let policy = with_http();
    let target = policy.check_url("https://example.com/").unwrap();
    let good = addresses(&["8.8.8.8", "2606:4700:4700::1111"]);
    let checked = policy.check_addresses(&target, &good).unwrap();
    assert_eq!(checked.len(), 2);
    assert!(checked.iter().all(|address| address.port() == 443));
    let mixed = [good, addresses(&["10.0.0.1"])].concat();
    let refusal = policy.check_addresses(&target, &mixed).unwrap_err();
    assert!(matches!(
        refusal.reason,
        RefusalReason::Address { mixed: true, .. }
    ));
    let none = policy.check_addresses(&target, &[]).unwrap_err();
    assert_eq!(none.reason, RefusalReason::NoAddress("example.com".into()));
}

#[test]
fn messages_name_the_setting_that_would_allow_it_and_no_secret() {
    let message =
        |policy: &ReachPolicy, text: &str| policy.check_url(text).unwrap_err().to_string();
    let default = ReachPolicy::new("webhooks");
    for (text, expected) in [
        (
            "http://example.com/",
            "plain http is not allowed; use https, or set webhooks.allow_http",
        ),
        (
            "https://example.com:22/",
            "port 22 is not allowed; add it to webhooks.allow_ports, or the receiver's network to webhooks.allow_networks",
        ),
        (
            "https://127.0.0.1/",
            "127.0.0.1 is a loopback address; add the receiver's network to webhooks.allow_networks",
        ),
        (
            "https://169.254.169.254/",
            "169.254.169.254 is a link-local address; no setting allows it",
        ),
        (
            "https://receiver/",
            "receiver is a name of an inner network; add the receiver's network to webhooks.allow_networks",
        ),
        (
            "https://127.1/",
            "the host \"127.1\" is read as \"127.0.0.1\"; write it that way",
        ),
    ] {
        assert_eq!(message(&default, text), expected);
    }
    let target = default
        .check_url("https://example.com/hook/s3cret")
        .unwrap();
    let refusal = default.check_addresses(&target, &addresses(&["10.20.30.40", "8.8.8.8"]));
    let refusal = refusal.unwrap_err().to_string();
    assert!(
        !refusal.contains("10.20.30.40") && !refusal.contains("s3cret"),
        "{refusal}"
    );
    assert!(!format!("{target:?}").contains("s3cret"));
}

proptest! {
    #[test]
    fn any_text_is_judged_without_a_panic_and_a_target_keeps_its_promises(
        text in "(https?://)?[a-z0-9@:/?#\\\\.\\[\\]%_①-]{0,40}|\\PC{0,40}",
    ) {
        let policy = with_http();
        if let Ok(target) = policy.check_url(&text) {
            prop_assert!(["http", "https"].contains(&target.url().scheme()));
            prop_assert!([80, 443, 8080, 8443].contains(&target.port()));
            prop_assert!(target.url().username().is_empty());
            prop_assert!(target.url().fragment().is_none());
            let shown = target.url().host_str().unwrap().to_owned();
            prop_assert!(text.to_ascii_lowercase().contains(&shown) || shown.starts_with('['));
            if let TargetHost::Address(address) = target.host() {
                prop_assert_eq!(address::reach(*address, &[]), Ok(()));
            }
            // The text of the parsed URL means the same.
            prop_assert_eq!(&policy.check_url(target.url().as_str()).unwrap(), &target);
        }
    }

    #[test]
    fn schema_takes_the_urls_that_are_read(
        text in "(https?|HTTP|ftp)://([a-z0-9_-]{0,3}\\.){0,4}[0-9a-fx_-]{0,4}\\.?(:[0-9]{0,6})?([/?#][a-z@\\\\ü ]{0,4})?",
    ) {
        assert_schema_agrees(&text);
    }

    #[test]
    fn schema_takes_the_addresses_that_are_read(
        text in "https://([0-9]{1,3}\\.){3}[0-9]{1,3}(:[1-7][0-9]{3,4})?|https://\\[[0-9a-f:.]{0,8}\\]/",
        length in 0..300_usize,
    ) {
        assert_schema_agrees(&text);
        let labels = "a-label.".repeat(length / 8);
        assert_schema_agrees(&format!("https://{labels}{}", "b".repeat(length % 8)));
    }
}

#[test]
fn plain_http_inside_is_for_listed_networks_only() {
    let policy = |networks: &[&str]| ReachPolicy {
        allow_networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
        http_inside: true,
        ..ReachPolicy::new("bots")
    };
    let inside = policy(&["10.0.0.0/8"]);
    for text in [
        "http://10.1.2.3/",
        "http://10.1.2.3:9000/",
        "https://10.1.2.3:9000/",
    ] {
        assert!(inside.check_url(text).is_ok(), "{text}");
    }
    let plain = RefusalReason::PlainHttp { inside: true };
    for (policy, text) in [
        (&policy(&[]), "http://example.com/"),
        (&policy(&[]), "http://10.1.2.3/"),
        (&inside, "http://8.8.8.8/"),
        (&inside, "http://8.8.8.8:9000/"),
    ] {
        assert_eq!(refused(policy, text), plain, "{text}");
        let told = policy.check_url(text).unwrap_err().to_string();
        assert!(told.contains("bots.allow_networks"), "{told}");
    }
    // Port 80 alone opens nothing.
    assert_eq!(
        refused(&inside, "https://8.8.8.8:80/"),
        RefusalReason::Port(80)
    );
    // A name may have an address inside: each connection is judged.
    let target = inside.check_url("http://service.example/").unwrap();
    assert_eq!(target.scope(), Scope::ListedOnly);
    assert!(
        inside
            .check_addresses(&target, &addresses(&["10.1.2.3"]))
            .is_ok()
    );
    let refusal = inside.check_addresses(&target, &addresses(&["8.8.8.8"]));
    assert_eq!(refusal.unwrap_err().reason, plain);
}
