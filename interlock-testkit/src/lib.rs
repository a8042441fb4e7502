//! A stateful fake Swarm.
