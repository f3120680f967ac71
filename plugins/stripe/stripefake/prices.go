package stripefake

import "net/http"

// Price is a recurring price.
type Price struct {
	ID        string
	LookupKey string
	// Amount of one unit, in cents, for a month.
	Amount   int64
	Currency string
	Archived bool
	// Yearly prices are for a year instead.
	Yearly bool
}

func (s *Server) addPrice(p Price) *Price {
	if p.ID == "" {
		p.ID = s.newID("price")
	}
	if p.Currency == "" {
		p.Currency = "eur"
	}
	s.prices = append(s.prices, &p)
	return s.prices[len(s.prices)-1]
}

func (s *Server) price(id string) *Price {
	for _, p := range s.prices {
		if p.ID == id {
			return p
		}
	}
	return nil
}

func priceJSON(p *Price) map[string]any {
	interval := "month"
	if p.Yearly {
		interval = "year"
	}
	return map[string]any{
		"id": p.ID, "object": "price", "active": !p.Archived, "currency": p.Currency, "unit_amount": p.Amount, "type": "recurring",
		"lookup_key": nullable(p.LookupKey), "recurring": map[string]any{"interval": interval, "interval_count": 1, "usage_type": "licensed"},
		"product": "prod_" + p.ID, "livemode": false, "metadata": map[string]string{},
	}
}

func (s *Server) listPrices(p *params) (any, *failure) {
	keys, active := p.list("lookup_keys"), p.text("active")
	if _, f := p.number("limit", 10); f != nil {
		return nil, f
	}
	if f := p.rest(); f != nil {
		return nil, f
	}
	if len(keys) > 10 {
		return nil, invalid("lookup_keys", "Array size must be at most 10")
	}
	var data []any
	for _, price := range s.prices {
		fits := len(keys) == 0
		for _, k := range keys {
			fits = fits || k == price.LookupKey
		}
		if fits && (active == "" || (active == "true") == !price.Archived) {
			data = append(data, priceJSON(price))
		}
	}
	return listJSON("/v1/prices", data, false), nil
}

func (s *Server) createPrice(p *params) (any, *failure) {
	key, name, take := p.text("lookup_key"), p.text("product_data[name]"), p.flag("transfer_lookup_key")
	price := Price{LookupKey: key, Currency: p.text("currency"), Yearly: p.text("recurring[interval]") == "year"}
	var f *failure
	if price.Amount, f = p.number("unit_amount", -1); f == nil {
		f = p.rest()
	}
	switch {
	case f != nil:
		return nil, f
	case price.Currency == "":
		return nil, invalid("currency", "Missing required param: currency.")
	case price.Amount < 0:
		return nil, invalid("unit_amount", "Missing required param: unit_amount.")
	case name == "":
		return nil, invalid("product", "Missing required param: product.")
	}
	for _, other := range s.prices {
		if key == "" || other.LookupKey != key {
			continue
		}
		if !take {
			return nil, invalid("lookup_key", "A price (`%s`) already uses that lookup key.", other.ID)
		}
		other.LookupKey = ""
	}
	s.effects++
	return priceJSON(s.addPrice(price)), nil
}

func (s *Server) getPrice(id string) (any, *failure) {
	if p := s.price(id); p != nil {
		return priceJSON(p), nil
	}
	return nil, missing("price", id, "id")
}

// sellable returns a price that a new item may have.
func (s *Server) sellable(id, param string) (*Price, *failure) {
	p := s.price(id)
	if p == nil {
		return nil, &failure{status: http.StatusBadRequest, Type: "invalid_request_error", Code: "resource_missing", Param: param, Message: "No such price: '" + id + "'"}
	}
	if p.Archived {
		return nil, &failure{status: http.StatusBadRequest, Type: "invalid_request_error", Param: param,
			Message: "The price specified is inactive. This field only accepts active prices."}
	}
	return p, nil
}
