//! TCP ports that something on this host listens at (proc_net_tcp.txt of the kernel).

use std::fs;

/// Tables of sockets.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
/// State of a socket that listens.
const LISTENS: &str = "0A";

/// Returns the ports, in order. Tables that cannot be read are left out. Blocks for the reads.
pub(crate) fn ports() -> Vec<u16> {
    let tables = TABLES
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok());
    let mut ports: Vec<u16> = tables.flat_map(|table| ports_in(&table)).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn ports_in(table: &str) -> Vec<u16> {
    table.lines().skip(1).filter_map(port_of).collect()
}

/// Returns the port of a line whose socket listens.
fn port_of(line: &str) -> Option<u16> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
    let port = local.rsplit_once(':')?.1;
    (state == LISTENS).then(|| u16::from_str_radix(port, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_listening_sockets_are_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
             0: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0\n\
             1: 0100007F:1F42 0100007F:C350 01 00000000:00000000 00:00000000 00000000 0\n\
             2: 00000000000000000000000001000000:1F43 00000000000000000000000000000000:0000 0A 0\n\
             3: cut\n";
        assert_eq!(ports_in(table), [8_001, 8_003]);
        assert_eq!(ports_in(""), [0; 0]);
    }

    #[test]
    fn an_open_listener_is_seen() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(ports().contains(&port));
        drop(listener);
    }
}
