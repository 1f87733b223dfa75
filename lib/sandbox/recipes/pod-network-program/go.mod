module macula.local/pod-network

go 1.21
