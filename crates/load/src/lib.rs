//! Load of the whole backend in open loop, for omgctl bench and make bench.
