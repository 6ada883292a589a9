//! What a shim holds for its clients, as its metrics tell.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::program::fetch;
use crate::stage::eventually;

/// The sum over all series of a metric.
pub async fn metric(data: &Path, name: &str) -> f64 {
    let socket = data.join("admin.sock");
    eventually("there is a socket", || socket.exists().then_some(())).await;
    let text = fetch(&socket, "/metrics").await;
    let of_it = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let own = series.split('{').next()? == name;
        own.then(|| value.parse::<f64>().unwrap())
    });
    of_it.sum()
}

/// Waits until it holds neither a session nor a connection of a client.
pub async fn gives_everything_back(data: &Path, within: Duration) {
    let deadline = Instant::now() + within;
    loop {
        let sessions = metric(data, "scope_shim_sessions").await;
        let connections = metric(data, "scope_shim_client_connections").await;
        if sessions + connections == 0.0 {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{sessions} sessions and {connections} connections are left"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
