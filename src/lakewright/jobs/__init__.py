"""Jobs: graphs of tasks that run for somebody, on a schedule or on demand."""
