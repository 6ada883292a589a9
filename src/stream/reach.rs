//! Peers that vanish without a word: a machine went to sleep, or the network between was cut.
//!
//! Nothing ever comes of such a connection, and what is sent on it is sent in vain. Nobody but the system can tell it from
//! one whose peer is there and silent: it asks the other system, and is not answered.

use std::io;
use std::time::Duration;

use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle, set_tcp_keepintvl};
use tokio::net::TcpStream;

/// Has the connection fail when its peer was out of reach for about so long.
///
/// On Linux also when the peer has taken nothing for so long of what is sent to it.
///
/// # Errors
///
/// When the system does not know the option.
pub fn fail_out_of_reach(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    set_socket_keepalive(stream, true)?;
    // The first question after half of the time; the system counts in seconds.
    set_tcp_keepidle(stream, (patience / 2).max(SECOND))?;
    set_tcp_keepintvl(stream, (patience / (2 * QUESTIONS)).max(SECOND))?;
    #[cfg(target_os = "linux")]
    {
        use rustix::net::sockopt::set_tcp_user_timeout;
        // It also decides how many questions are enough. Without it, what was sent last would be sent again and again
        // for a quarter of an hour, and nothing be asked meanwhile.
        let ms = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        set_tcp_user_timeout(stream, ms)?;
    }
    #[cfg(not(target_os = "linux"))]
    rustix::net::sockopt::set_tcp_keepcnt(stream, QUESTIONS)?;
    Ok(())
}

const SECOND: Duration = Duration::from_secs(1);
const QUESTIONS: u32 = 4;
