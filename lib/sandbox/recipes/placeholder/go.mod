module macula.local/placeholder

go 1.21
