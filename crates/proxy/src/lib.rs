//! The node proxy: engine, workers, ZDS, access log, metrics and admin
