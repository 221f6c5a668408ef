"""The replay in locust's own web page: a tab that shows it while it runs. The only room that knows flask."""
