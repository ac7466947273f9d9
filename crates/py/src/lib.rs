//! The Python module: parse settings, release the GIL, run the node proxy
