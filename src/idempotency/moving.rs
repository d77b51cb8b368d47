#![doc = include_str!("moving.md")]
