module macula.local/pause

go 1.21
