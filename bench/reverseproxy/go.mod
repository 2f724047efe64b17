module activator.dev/bench/reverseproxy

go 1.21
