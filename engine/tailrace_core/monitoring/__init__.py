"""What watches a broker from outside, rendered into config/telemetry: a dashboard, a scrape config, alert rules."""
