//! Delta xDS and CA clients, and the conversion of wire messages into state
