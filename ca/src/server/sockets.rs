//! Listening sockets that outlive a reload: connections wait in their queue meanwhile instead of being refused.

use std::{
    collections::HashMap,
    fs, io,
    net::{IpAddr, SocketAddr, TcpListener as StdListener},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Mutex, PoisonError},
};

use tokio::net::{TcpListener, UnixListener};

/// The sockets that were bound, by their address.
#[derive(Debug, Default)]
pub struct Sockets {
    bound: Mutex<HashMap<SocketAddr, StdListener>>,
}

impl Sockets {
    /// Listens on an address, on the socket of before if there is one.
    pub(super) async fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let known = self.lock().get(&address).map(StdListener::try_clone).transpose()?;
        if let Some(listener) = known {
            return TcpListener::from_std(listener);
        }
        let listener = TcpListener::bind(address).await?.into_std()?;
        let kept = listener.try_clone()?;
        self.lock().insert(address, kept);
        TcpListener::from_std(listener)
    }

    /// Takes a port that is free on an address, and keeps the socket until it is listened on.
    ///
    /// # Errors
    /// When the system has none.
    pub async fn reserve_any(&self, ip: IpAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((ip, 0)).await?.into_std()?;
        let address = listener.local_addr()?;
        self.lock().insert(address, listener);
        Ok(address)
    }

    /// Makes sure that addresses can be listened on, before anything is given up for them.
    ///
    /// # Errors
    /// The first address that cannot be had, and why.
    pub async fn reserve(&self, addresses: &[SocketAddr]) -> Result<(), (SocketAddr, io::Error)> {
        let before: Vec<SocketAddr> = self.lock().keys().copied().collect();
        for address in addresses {
            if let Err(error) = self.listen(*address).await {
                // A socket that nobody serves would let clients connect into nothing.
                self.keep_only(&before);
                return Err((*address, error));
            }
        }
        Ok(())
    }

    /// Lets go of the sockets that are not in use any more.
    pub(super) fn keep_only(&self, addresses: &[SocketAddr]) {
        self.lock().retain(|address, _| addresses.contains(address));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, StdListener>> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Binds the operators' socket, for the CA's own user alone.
///
/// It is made in a folder that nobody else can enter and moved out when its mode is right, so that there is no
/// moment at which others could connect. The store's lock was taken before, so a socket that is there belongs to nobody.
pub(super) fn operators(path: &Path, private_folder: &Path) -> io::Result<UnixListener> {
    let draft = private_folder.join(".admin.sock");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&draft)?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600))?;
    fs::rename(&draft, path)?;
    Ok(listener)
}
