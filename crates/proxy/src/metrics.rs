//! The metrics page: Istio's names for what Istio has, `ambimesh_` for the rest.

mod exposition;
mod labels;
mod page;
mod traffic;

pub(crate) use exposition::{Exposition, Kind, push_label};
pub(crate) use labels::{ConnectionLabels, Reporter, ServiceLabels, Side};
pub(crate) use page::{MetricsSite, Section};
pub(crate) use traffic::Traffic;
