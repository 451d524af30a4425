//! Requests to an object store: each has an end, an answer of bounded length, and a fault that says
//! why it failed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService, ReqwestConnector,
};
use object_store::{ClientOptions, Extensions};
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::fault::Fault;

/// The length of the longest answer that is not an object, in bytes: more than a page of a listing.
const ANSWER_LEN_MAX: usize = 8 << 20;
/// The length of the longest error that is read, in bytes.
const ERROR_LEN_MAX: usize = 64 << 10;

tokio::task_local! {
    /// How the last request of a task failed.
    static FAULT: Arc<Mutex<Option<Fault>>>;
}

/// Does something with the store, and ends it after a time. An answer that the library does not
/// survive is a fault of the store.
pub(super) async fn ask<T: Send + 'static>(
    most: Duration,
    work: impl Future<Output = object_store::Result<T>> + Send + 'static,
) -> Result<T, Fault> {
    let fault = Arc::<Mutex<Option<Fault>>>::default();
    let work = FAULT.scope(Arc::clone(&fault), tokio::time::timeout(most, work));
    match AbortOnDropHandle::new(tokio::spawn(work)).await {
        Ok(Ok(Ok(done))) => Ok(done),
        Ok(Ok(Err(_))) => Err(fault.lock().take().unwrap_or(Fault::Nonsense)),
        Ok(Err(_)) => Err(Fault::Slow),
        Err(_) => Err(Fault::Nonsense),
    }
}

/// Marks a request for an object, whose length has no limit here.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfObject;

/// Makes clients that note how a request failed, and whose answers have a greatest length.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Watched(client)))
    }
}

#[derive(Debug)]
struct Watched(HttpClient);

impl HttpService for Watched {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let is_of_object = is_of_object(request.extensions());
            let answer = self.0.execute(request).await;
            let answer = answer.inspect_err(|error| keep(Fault::of_transport(error)))?;
            let (parts, body) = answer.into_parts();
            if parts.status.is_success() {
                forget();
                let body = match is_of_object {
                    true => HttpResponseBody::new(body.map_err(|error| {
                        keep(Fault::of_transport(&error));
                        error
                    })),
                    false => bounded(body, ANSWER_LEN_MAX),
                };
                return Ok(HttpResponse::from_parts(parts, body));
            }
            let body = bounded(body, ERROR_LEN_MAX).bytes().await?;
            keep(Fault::of_answer(parts.status.as_u16(), &body));
            Ok(HttpResponse::from_parts(parts, body.into()))
        })
    }
}

fn is_of_object(extensions: &Extensions) -> bool {
    extensions.get::<OfObject>().is_some()
}

/// A body that is an error where it is longer.
fn bounded(body: HttpResponseBody, most: usize) -> HttpResponseBody {
    HttpResponseBody::new(Limited::new(body, most).map_err(|error| {
        let error = match error.downcast::<HttpError>() {
            Ok(error) => *error,
            Err(error) => HttpError::new_boxed(HttpErrorKind::Decode, error),
        };
        keep(Fault::of_transport(&error));
        error
    }))
}

/// An earlier request failed, and its repetition did not.
fn forget() {
    let _ = FAULT.try_with(|last| *last.lock() = None);
}

/// Keeps how a request failed, for whoever asked.
fn keep(fault: Fault) {
    let _ = FAULT.try_with(|last| *last.lock() = Some(fault));
}
