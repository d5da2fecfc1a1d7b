//! Published CIDs and round trips through every reader.
