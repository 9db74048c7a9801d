module selfheal.bench/shop

go 1.24.0
