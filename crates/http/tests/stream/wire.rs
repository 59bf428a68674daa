//! A wire between a client and the fixture that a test can cut.

use std::sync::{Arc, Mutex};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

pub(crate) struct Wire {
    pub(crate) url: String,
    to: Arc<Mutex<Option<String>>>,
    open: Arc<Mutex<Vec<JoinHandle<()>>>>,
    listener: JoinHandle<()>,
}

impl Wire {
    pub(crate) async fn to(host: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let to = Arc::new(Mutex::new(Some(host.to_owned())));
        let open: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let (target, all) = (Arc::clone(&to), Arc::clone(&open));
        let listener = tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let target = target.lock().unwrap().clone();
                let piece = tokio::spawn(async move {
                    let Some(target) = target else { return };
                    if let Ok(mut to) = TcpStream::connect(target).await {
                        let _ended = copy_bidirectional(&mut from, &mut to).await;
                    }
                });
                all.lock().unwrap().push(piece);
            }
        });
        Self { url, to, open, listener }
    }

    /// Ends all connections; new ones may be made.
    pub(crate) fn cut(&self) {
        self.open.lock().unwrap().drain(..).for_each(|it| it.abort());
    }

    /// Leads elsewhere from now on, or nowhere.
    pub(crate) fn lead(&self, host: Option<&str>) {
        *self.to.lock().unwrap() = host.map(str::to_owned);
        self.cut();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.listener.abort();
        self.cut();
    }
}
