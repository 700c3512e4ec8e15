//! The nouns as the operator knows them: configuration, validation, API bodies
