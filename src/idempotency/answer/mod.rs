//! What is stored of a response, and how a replay is made of it.
