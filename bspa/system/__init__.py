"""What every job needs: files, locks, logs, threads and devices. No result depends on it."""
