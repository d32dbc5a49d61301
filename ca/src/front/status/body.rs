//! The body of an answer: octets as they are kept, in one piece or many.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::model::Pieces;

/// What an answer's body is: it copies nothing, so that a long CRL is in memory once, however many fetch it.
#[derive(Debug)]
pub enum ResponseBody {
    /// Octets in one block; empty when they are sent.
    Whole(Bytes),
    /// Octets in pieces.
    Pieces {
        /// All of them.
        octets: Pieces,
        /// The place of the next piece.
        next: usize,
        /// How many octets are to be sent still.
        left: usize,
    },
}

impl ResponseBody {
    /// Returns how many octets are to be sent still.
    pub fn len(&self) -> usize {
        match self {
            Self::Whole(octets) => octets.len(),
            Self::Pieces { left, .. } => *left,
        }
    }

    /// Tells whether all is sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for ResponseBody {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl From<Bytes> for ResponseBody {
    fn from(octets: Bytes) -> Self {
        Self::Whole(octets)
    }
}

impl From<Vec<u8>> for ResponseBody {
    fn from(octets: Vec<u8>) -> Self {
        Self::Whole(octets.into())
    }
}

impl From<Pieces> for ResponseBody {
    fn from(octets: Pieces) -> Self {
        Self::Pieces {
            next: 0,
            left: octets.len(),
            octets,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut *self {
            Self::Whole(octets) => Some(std::mem::take(octets)),
            Self::Pieces { octets, next, left } => {
                let piece = octets.pieces().iter().skip(*next).find(|piece| {
                    *next += 1;
                    !piece.is_empty()
                });
                piece.inspect(|piece| *left = left.saturating_sub(piece.len())).cloned()
            }
        };
        Poll::Ready(
            piece
                .filter(|piece| !piece.is_empty())
                .map(|piece| Ok(Frame::data(piece))),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len() as u64)
    }
}
