//! Bodies that break off: at once, so that nothing of the answer is sent, or after a part of it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes};
use hyper::body::Frame;
use tokio::time::Sleep;

/// How long a part is left alone before the rest fails: it has to have left this process by then.
const PART_TIME: Duration = Duration::from_millis(100);

/// A body whose end never comes.
struct Broken {
    part: Option<Bytes>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl hyper::body::Body for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(part) = self.part.take() {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let broken = io::Error::new(io::ErrorKind::ConnectionAborted, "broken off by a rule");
        Poll::Ready(Some(Err(broken)))
    }
}

/// A body that fails before anything was sent: the connection ends without an answer.
pub(super) fn at_once() -> Body {
    Body::new(Broken {
        part: None,
        pause: None,
    })
}

/// A body that fails after a part.
pub(super) fn after(part: Bytes) -> Body {
    Body::new(Broken {
        part: Some(part),
        pause: Some(Box::pin(tokio::time::sleep(PART_TIME))),
    })
}
