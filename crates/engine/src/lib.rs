//! The data path: workers, tunnels, streams and the sockets behind them
