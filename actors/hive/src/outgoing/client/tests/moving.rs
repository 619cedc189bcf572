//! Names whose addresses are inside, or move there.

use super::*;

const URL: &str = "http://receiver.example";

/// A policy that lets the port pass everywhere, so that the name may be public.
fn with_port(port: u16) -> ReachPolicy {
    ReachPolicy {
        allow_ports: vec![port],
        ..loopback()
    }
}

#[tokio::test]
async fn a_name_that_moves_inside_is_refused_at_the_next_connection() {
    let receiver = Receiver::answering(OK_AND_CLOSE).await;
    let url = format!("{URL}:{}/", receiver.port);
    for policy in [with_port(receiver.port), loopback()] {
        let names = Answers::new(&[&["127.0.0.1"], &["10.0.0.1"]]);
        let client = client_with(policy, OutgoingOptions::default(), Arc::clone(&names) as _);
        let before = receiver.connections();
        assert_eq!(
            post_to(&client, &url, limits())
                .await
                .outcome
                .unwrap()
                .status,
            200
        );
        let reason = refusal_of(post_to(&client, &url, limits()).await);
        let inside = "10.0.0.1".parse::<std::net::IpAddr>().unwrap();
        assert!(
            matches!(reason, RefusalReason::Address { address, mixed: false, .. } if address == inside),
            "{reason:?}"
        );
        assert_eq!(names.looked(), 2);
        assert_eq!(receiver.connections(), before + 1);
    }
}

#[tokio::test]
async fn an_open_connection_stays_with_the_address_that_was_checked() {
    let receiver = Receiver::answering(OK).await;
    let names = Answers::new(&[&["127.0.0.1"], &["10.0.0.1"]]);
    let client = client_looking(Arc::clone(&names) as _);
    let url = format!("{URL}:{}/", receiver.port);
    for _ in 0..3 {
        assert_eq!(
            post_to(&client, &url, limits())
                .await
                .outcome
                .unwrap()
                .status,
            200
        );
    }
    assert_eq!((names.looked(), receiver.connections()), (1, 1));
}

#[tokio::test]
async fn an_idle_connection_is_not_used_again() {
    let receiver = Receiver::answering(OK).await;
    let names = Answers::new(&[&["127.0.0.1"], &["10.0.0.1"]]);
    let options = OutgoingOptions {
        idle_timeout: Duration::from_nanos(1),
        ..OutgoingOptions::default()
    };
    let client = client_with(loopback(), options, Arc::clone(&names) as _);
    let url = format!("{URL}:{}/", receiver.port);
    assert_eq!(
        post_to(&client, &url, limits())
            .await
            .outcome
            .unwrap()
            .status,
        200
    );
    refusal_of(post_to(&client, &url, limits()).await);
    assert_eq!((names.looked(), receiver.connections()), (2, 1));
}

#[tokio::test]
async fn mixed_answers_are_refused_whole() {
    let receiver = Receiver::answering(OK).await;
    let url = format!("{URL}:{}/", receiver.port);
    for answer in [
        &["127.0.0.1", "10.0.0.1"][..],
        &["10.0.0.1", "127.0.0.1"],
        &["127.0.0.1", "::ffff:169.254.169.254"],
        &["127.0.0.1", "64:ff9b::a00:1"],
    ] {
        let client = client_looking(Answers::new(&[answer]));
        let reason = refusal_of(post_to(&client, &url, limits()).await);
        assert!(
            matches!(reason, RefusalReason::Address { mixed: true, .. }),
            "{reason:?}"
        );
    }
    let empty = client_looking(Answers::new(&[&[]]));
    let reason = refusal_of(post_to(&empty, &url, limits()).await);
    assert_eq!(reason, RefusalReason::NoAddress("receiver.example".into()));
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_port_or_a_name_of_the_inside_needs_listed_addresses() {
    // The address is public, the port is not allowed there.
    let client = client_looking(Answers::new(&[&["8.8.8.8"]]));
    let reason = refusal_of(post_to(&client, &format!("{URL}:9000/"), limits()).await);
    assert_eq!(reason, RefusalReason::Port(9_000));
    let reason = refusal_of(post_to(&client, "http://receiver/", limits()).await);
    assert_eq!(reason, RefusalReason::InternalName("receiver".into()));
}

#[tokio::test]
async fn a_second_address_is_tried_where_nothing_listens_at_the_first() {
    let receiver = Receiver::answering(OK).await;
    let client = client_looking(Answers::new(&[&["127.1.2.3", "127.0.0.1"]]));
    let url = format!("{URL}:{}/", receiver.port);
    assert_eq!(
        post_to(&client, &url, limits())
            .await
            .outcome
            .unwrap()
            .status,
        200
    );
}
