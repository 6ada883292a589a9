//! A shim that is part of another program: the listeners are there already, and somebody else says when it ends.

use std::future::Future;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::doors::Listener;
use super::opening::Prepared;
use super::succession::Wishes;
use super::{Failure, Loader};
use crate::config::Config;

/// Runs for one gateway on a listener that is already bound, until `shutdown` completes.
///
/// # Errors
///
/// When the delegate's key cannot be used.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let same = config.clone();
    let again: Loader = Box::new(move || Ok(vec![same.clone()]));
    serve_reloading(config, again, listener, shutdown).await
}

/// The same, with a configuration that can be read again.
///
/// # Errors
///
/// When the delegate's key cannot be used.
pub async fn serve_reloading(
    config: Config,
    again: Loader,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let listeners = vec![Listener::new(config.listen, listener)];
    serve_opened(vec![config], again, listeners, shutdown).await
}

/// The same for several gateways: each door has a listener, by the address in the configurations.
///
/// # Errors
///
/// When the delegate's key cannot be used.
pub async fn serve_all(
    configs: Vec<Config>,
    listeners: Vec<(SocketAddr, TcpListener)>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let same = configs.clone();
    let again: Loader = Box::new(move || Ok(same.clone()));
    let listeners = listeners.into_iter();
    let listeners = listeners.map(|(address, listener)| Listener::new(address, listener));
    let listeners = listeners.collect();
    serve_opened(configs, again, listeners, shutdown).await
}

async fn serve_opened(
    configs: Vec<Config>,
    again: Loader,
    listeners: Vec<Listener>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let (wishes, _) = Wishes::new();
    let prepared = Prepared::new(configs, again, listeners, wishes)?;
    let mut running = prepared.open(false).await;
    shutdown.await;
    running.stop(std::future::pending()).await;
    Ok(())
}
