"""What others wrote agrees with our logs: Go's checksum database, sigstore for JavaScript, aics-tlog, openssl."""
