//! A recording as a capture of packets, for Wireshark and tshark.
//!
//! ```text
//! recording:  open              in, 3,000 bytes          out, 13 bytes      close
//! capture:    SYN, SYN-ACK, ACK  1,460 + 1,460 + 80, ACK  13, ACK            FIN, ACK, FIN, ACK
//! ```
//!
//! A recording has no packets, so this file makes them up: IP and TCP without Ethernet (LINKTYPE_RAW). Only the payload, its order,
//! its direction, the times and the address of the client are recorded.
//!
//! Rule of this file: a recording of any size is converted as it is read. Only open connections are kept.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::UNIX_EPOCH;

use framewise::observe::Direction;

use crate::export::Failure;
use crate::recording::reader::{End, Entry, Event, Reader};

/// Each packet begins with its IP header (<https://www.tcpdump.org/linktypes.html>).
const LINKTYPE_RAW: u32 = 101;

/// The longest packet.
const MAX_PACKET: u32 = 65_535;

/// What Ethernet leaves for TCP: 1,500 bytes without the headers of IP and TCP.
const MSS_4: u16 = 1_460;
const MSS_6: u16 = 1_440;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// Stand for the address of a server that listens on all addresses, of which the recording does not have one (RFC 5737 and
/// RFC 3849 reserve them for documentation).
const SOME_SERVER_4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SOME_SERVER_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// Converts a recording.
///
/// # Errors
///
/// The recording is wrong, or `out` takes no bytes.
pub fn export(mut reader: Reader, out: &mut impl Write) -> Result<End, Failure> {
    let started = reader.started().map_err(Failure::Recording)?;
    let listening = reader.head().listening.clone();
    let started = started.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
    write_file_header(out)?;
    let mut connections = HashMap::new();
    while let Some(Entry { us, connection, event }) = reader.next().map_err(Failure::Recording)? {
        if let Event::Open(client) = event {
            let server = server_for(client, &listening);
            connections.insert(connection, Connection::new(connection, client, server));
        }
        let Some(tcp) = connections.get_mut(&connection) else { continue };
        let mut wire = Wire { out, us: started.saturating_add(us) };
        match event {
            Event::Open(_) => tcp.open(&mut wire)?,
            Event::Bytes(direction, bytes) => tcp.bytes(&mut wire, direction, &bytes)?,
            Event::Close(_) => {
                tcp.close(&mut wire)?;
                connections.remove(&connection);
            }
        }
    }
    Ok(reader.end().unwrap_or(End::BreaksOff))
}

/// Writes the header of a capture with times in microseconds.
fn write_file_header(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
    out.write_all(&2_u16.to_le_bytes())?;
    out.write_all(&4_u16.to_le_bytes())?;
    out.write_all(&[0; 8])?;
    out.write_all(&MAX_PACKET.to_le_bytes())?;
    out.write_all(&LINKTYPE_RAW.to_le_bytes())
}

/// Returns the address to which a client has probably connected.
pub fn server_for(client: SocketAddr, listening: &[SocketAddr]) -> SocketAddr {
    let client = client.ip().to_canonical();
    let family = |address: &&SocketAddr| address.is_ipv4() == client.is_ipv4();
    // A server that listens on all IPv6 addresses may accept IPv4 as well.
    let found = listening.iter().find(family).or(listening.first());
    let port = found.map_or(8765, SocketAddr::port);
    let own = found.map(SocketAddr::ip).filter(|ip| ip.is_ipv4() == client.is_ipv4());
    let ip = match own.filter(|ip| !ip.is_unspecified()) {
        Some(ip) => ip,
        // Only the machine itself can connect from its loopback address.
        None if client.is_loopback() => client,
        None if client.is_ipv4() => SOME_SERVER_4.into(),
        None => SOME_SERVER_6.into(),
    };
    SocketAddr::new(ip, port)
}

/// Where packets are written, with the time of the event that they belong to.
struct Wire<'a, W> {
    out: &'a mut W,
    us: u64,
}

/// One side of a connection.
#[derive(Clone, Copy)]
struct Side {
    address: SocketAddr,
    /// The sequence number of its next byte.
    next: u32,
    /// The identification of its next IPv4 packet.
    packet: u16,
}

/// A TCP connection.
struct Connection {
    client: Side,
    server: Side,
    mss: u16,
}

impl Connection {
    fn new(number: u64, client: SocketAddr, server: SocketAddr) -> Connection {
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        // Initial sequence numbers differ between connections, because a port may be used again.
        let start = (number as u32).wrapping_mul(0x9e37_79b9);
        let side = |address, next| Side { address, next, packet: 1 };
        let mss = if client.is_ipv4() { MSS_4 } else { MSS_6 };
        Connection { client: side(client, start), server: side(server, !start), mss }
    }

    fn open(&mut self, wire: &mut Wire<'_, impl Write>) -> io::Result<()> {
        self.segment(wire, Direction::In, SYN, &[])?;
        self.segment(wire, Direction::Out, SYN | ACK, &[])?;
        self.segment(wire, Direction::In, ACK, &[])
    }

    fn bytes(
        &mut self,
        wire: &mut Wire<'_, impl Write>,
        direction: Direction,
        bytes: &[u8],
    ) -> io::Result<()> {
        let segments = bytes.chunks(self.mss.into());
        let last = segments.len();
        for (number, segment) in (1..).zip(segments) {
            let push = if number == last { PSH } else { 0 };
            self.segment(wire, direction, ACK | push, segment)?;
        }
        self.segment(wire, other(direction), ACK, &[])
    }

    fn close(&mut self, wire: &mut Wire<'_, impl Write>) -> io::Result<()> {
        // RFC 6455 §7.1.1: the server closes first.
        for direction in [Direction::Out, Direction::In] {
            self.segment(wire, direction, FIN | ACK, &[])?;
            self.segment(wire, other(direction), ACK, &[])?;
        }
        Ok(())
    }

    /// Writes one segment, and counts its bytes.
    fn segment(
        &mut self,
        wire: &mut Wire<'_, impl Write>,
        direction: Direction,
        flags: u8,
        payload: &[u8],
    ) -> io::Result<()> {
        let (from, to) = match direction {
            Direction::In => (&mut self.client, &self.server),
            Direction::Out => (&mut self.server, &self.client),
        };
        let mut tcp = Vec::with_capacity(28 + payload.len());
        tcp.extend(from.address.port().to_be_bytes());
        tcp.extend(to.address.port().to_be_bytes());
        tcp.extend(from.next.to_be_bytes());
        let acknowledged = if flags & ACK == 0 { 0 } else { to.next };
        tcp.extend(acknowledged.to_be_bytes());
        // Options: the MSS, and a window that is scaled by 128. A padding byte makes them end at a multiple of four.
        let [high, low] = self.mss.to_be_bytes();
        let options = [2, 4, high, low, 1, 3, 3, 7];
        let options = if flags & SYN == 0 { &[][..] } else { &options };
        let words = (20 + options.len()) / 4;
        tcp.extend([(words as u8) << 4, flags]);
        tcp.extend(u16::MAX.to_be_bytes());
        tcp.extend([0; 4]);
        tcp.extend(options);
        tcp.extend(payload);
        // SYN and FIN count as a byte each.
        let counted = payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0);
        from.next = from.next.wrapping_add(counted);
        let packet = from.packet;
        from.packet = packet.wrapping_add(1);
        let ip = ip_packet(from.address.ip(), to.address.ip(), packet, tcp);
        write_packet(wire, &ip)
    }
}

fn other(direction: Direction) -> Direction {
    match direction {
        Direction::In => Direction::Out,
        Direction::Out => Direction::In,
    }
}

fn write_packet(wire: &mut Wire<'_, impl Write>, packet: &[u8]) -> io::Result<()> {
    let (seconds, micros) = (wire.us / 1_000_000, wire.us % 1_000_000);
    // The format ends in 2106.
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    for field in [seconds, micros as u32, packet.len() as u32, packet.len() as u32] {
        wire.out.write_all(&field.to_le_bytes())?;
    }
    wire.out.write_all(packet)
}

/// Returns an IP packet with a TCP segment, and fills in both checksums.
fn ip_packet(from: IpAddr, to: IpAddr, number: u16, mut tcp: Vec<u8>) -> Vec<u8> {
    const TCP: u8 = 6;
    const HOPS: u8 = 64;
    let length = tcp.len() as u16;
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut pseudo = [from.octets(), to.octets()].concat();
            pseudo.extend([0, TCP]);
            pseudo.extend(length.to_be_bytes());
            fill_in_checksum(&mut tcp, &pseudo);
            let mut packet = vec![0x45, 0];
            packet.extend((20 + length).to_be_bytes());
            packet.extend(number.to_be_bytes());
            // Do not fragment.
            packet.extend([0x40, 0, HOPS, TCP, 0, 0]);
            packet.extend([from.octets(), to.octets()].concat());
            let sum = checksum(&[&packet]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            packet.extend(tcp);
            packet
        }
        (from, to) => {
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            let addresses = [octets(from), octets(to)].concat();
            let mut pseudo = addresses.clone();
            pseudo.extend(u32::from(length).to_be_bytes());
            pseudo.extend([0, 0, 0, TCP]);
            fill_in_checksum(&mut tcp, &pseudo);
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend(length.to_be_bytes());
            packet.extend([TCP, HOPS]);
            packet.extend(addresses);
            packet.extend(tcp);
            packet
        }
    }
}

fn fill_in_checksum(tcp: &mut [u8], pseudo: &[u8]) {
    let sum = checksum(&[pseudo, tcp]);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 1071: the checksum of IP and TCP. Every piece but the last has an even length.
fn checksum(pieces: &[&[u8]]) -> u16 {
    let words = pieces.iter().flat_map(|piece| piece.chunks(2));
    let value = |word: &[u8]| u32::from(word[0]) << 8 | word.get(1).map_or(0, |&low| low.into());
    let mut sum: u32 = words.map(value).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_connected_to_an_address_of_its_family() {
        for (client, listening, expected) in [
            ("127.0.0.1:9", "127.0.0.1:80 [::1]:80", "127.0.0.1:80"),
            ("[::1]:9", "127.0.0.1:80 [::1]:80", "[::1]:80"),
            ("10.0.0.7:9", "0.0.0.0:80", "192.0.2.1:80"),
            ("127.0.0.1:9", "0.0.0.0:80", "127.0.0.1:80"),
            ("[fd00::7]:9", "[::]:80", "[2001:db8::1]:80"),
            ("[::1]:9", "[::]:80", "[::1]:80"),
            ("[::ffff:10.0.0.7]:9", "[::]:80", "192.0.2.1:80"),
            ("10.0.0.7:9", "10.0.0.1:80", "10.0.0.1:80"),
            ("10.0.0.7:9", "", "192.0.2.1:8765"),
        ] {
            let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
            let listening: Vec<_> = listening.split_whitespace().map(address).collect();
            let server = server_for(address(client), &listening);
            assert_eq!(server, address(expected), "{client} {listening:?}");
            // Both addresses of a packet are of one family.
            let client = Connection::new(1, address(client), server).client.address;
            assert_eq!(client.is_ipv4(), server.is_ipv4());
        }
    }

    /// The example of RFC 1071, section 3.
    #[test]
    fn the_checksum_is_that_of_the_standard() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&[&bytes]), !0xddf2);
        assert_eq!(checksum(&[&bytes[..4], &bytes[4..]]), !0xddf2);
        assert_eq!(checksum(&[&[0xff]]), !0xff00);
    }
}
