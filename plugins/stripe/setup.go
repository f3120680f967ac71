package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	stripe "github.com/stripe/stripe-go/v79"
)

// createPrice is what only `avhub-stripe setup` does.
const createPrice opKind = "create price"

// offer is a price that the configuration names, and what setup makes of it.
type offer struct {
	LookupKey string `json:"lookup_key,omitempty"`
	For       string `json:"for"`
	// Price is its id; empty: it is not there.
	Price string `json:"price,omitempty"`
	// Amount of one unit in the currency's smallest unit; nil: nobody has said it.
	Amount   *int64 `json:"amount,omitempty"`
	Currency string `json:"currency,omitempty"`
	Interval string `json:"interval,omitempty"`
	// Do is nothing, create, or created.
	Do string `json:"do"`
	// Note says what a person should know, and Wrong that it has to be put right by hand.
	Note  string `json:"note,omitempty"`
	Wrong bool   `json:"wrong,omitempty"`

	archived bool // a price that cannot be sold holds the lookup key
}

// offered is what setup found or did.
type offered struct {
	Account string  `json:"account"`
	Live    bool    `json:"live"`
	Prices  []offer `json:"prices"`
	// Done: what was missing was made.
	Done bool `json:"done"`
}

// setupWish is what the command line says.
type setupWish struct {
	amounts            map[string]string // by lookup key
	currency, interval string
	yes                bool
}

func (c *cli) setupVerb() *cobra.Command {
	var prices []string
	wish := setupWish{amounts: map[string]string{}}
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "make the products and prices that the configuration names by lookup key",
		Long: "Shows which of the configuration's prices the account has, and makes a product with a recurring price and\n" +
			"its lookup key for each one that it lacks. Prices that are there are never changed. Without --yes nothing is.\n" +
			"The key needs the rights to write products and prices.",
		Example: "  avhub-stripe setup\n  avhub-stripe setup --price pro=49.00 --price seat=5.00 --currency eur --yes",
		Args:    args(0, "flags only"),
	}
	cmd.Flags().StringArrayVar(&prices, "price", nil, "what one unit of a price that is missing costs, `KEY=AMOUNT`; repeatable")
	cmd.Flags().StringVar(&wish.currency, "currency", "eur", "`currency` of the prices that are made, in three letters")
	cmd.Flags().StringVar(&wish.interval, "interval", "month", "what their amount is for: month or year")
	cmd.Flags().BoolVar(&wish.yes, "yes", false, "make what is missing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, text := range prices {
			key, amount, ok := strings.Cut(text, "=")
			if _, twice := wish.amounts[key]; !ok || key == "" || twice {
				return wrongUse("--price takes KEY=AMOUNT, such as pro=49.00, once for each key")
			}
			wish.amounts[key] = amount
		}
		wish.currency = strings.ToLower(wish.currency)
		if err := wish.validate(); err != nil {
			return err
		}
		conn, err := c.open(cmd.Context())
		if err != nil {
			return err
		}
		defer conn.api.close()
		out, err := conn.setup(cmd.Context(), wish)
		if len(out.Prices) > 0 {
			if c.json {
				err = errors.Join(c.print(out), err)
			} else {
				c.printSetup(out)
			}
		}
		return err
	}
	return cmd
}

func (w setupWish) validate() error {
	if len(w.currency) != 3 || strings.Trim(w.currency, "abcdefghijklmnopqrstuvwxyz") != "" {
		return wrongUse("--currency takes three letters, such as eur")
	}
	if slices.Contains([]string{"bhd", "jod", "kwd", "omr", "tnd"}, w.currency) {
		return wrongUse("%s has thousandths, which setup cannot write; make the prices in Stripe's dashboard", strings.ToUpper(w.currency))
	}
	if w.interval != "month" && w.interval != "year" {
		return wrongUse("--interval takes month or year")
	}
	for key, text := range w.amounts {
		if _, err := smallest(text, w.currency); err != nil {
			return wrongUse("--price %s: %w", key, err)
		}
	}
	return nil
}

// smallest reads an amount of money in its currency's smallest unit.
func smallest(text, currency string) (int64, error) {
	whole, cents, point := strings.Cut(text, ".")
	digits := 2
	if wholeOnly(currency) {
		digits = 0
	}
	bad := fmt.Errorf("%q is no amount of %s with at most %d digits after the point", text, strings.ToUpper(currency), digits)
	if whole == "" || len(cents) > digits || point && cents == "" {
		return 0, bad
	}
	n, err := strconv.ParseUint(whole+(cents + "00")[:digits], 10, 63)
	if err != nil || n > 99_999_999 { // the most that Stripe takes
		return 0, bad
	}
	return int64(n), nil
}

// setup finds the prices, and makes those that are missing if it may.
func (c *connector) setup(ctx context.Context, w setupWish) (offered, error) {
	account, err := c.whose(ctx, "")
	if err != nil {
		return offered{}, err
	}
	out := offered{Account: account, Live: c.cfg.live(), Prices: c.cfg.offers()}
	if err := w.applies(out.Prices); err != nil {
		return offered{}, err
	}
	if err := c.find(ctx, out.Prices); err != nil {
		return offered{}, err
	}
	var silent []string
	wrong := 0
	for i := range out.Prices {
		o := &out.Prices[i]
		w.decide(o)
		if o.Do == "create" && o.Amount == nil {
			silent = append(silent, o.LookupKey)
		}
		if o.Wrong {
			wrong++
		}
	}
	switch {
	case w.yes && len(silent) > 0:
		return out, wrongUse("nothing was made: say what %s costs, with --price %s=AMOUNT", strings.Join(silent, ", "), silent[0])
	case w.yes:
		for i := range out.Prices {
			if err := c.offer(ctx, account, &out.Prices[i]); err != nil {
				return out, err
			}
		}
		out.Done = true
	}
	if wrong > 0 {
		return out, fmt.Errorf("%d of %d prices cannot be sold; put them right in Stripe's dashboard or in the configuration", wrong, len(out.Prices))
	}
	return out, nil
}

// offers are the configuration's prices, each once, in an order that stays.
func (c *config) offers() []offer {
	var out []offer
	at := map[priceRef]int{}
	add := func(ref priceRef, who string) {
		if ref == (priceRef{}) {
			return
		}
		if i, there := at[ref]; there {
			out[i].For += ", " + who
			return
		}
		at[ref] = len(out)
		out = append(out, offer{LookupKey: ref.Key, Price: ref.ID, For: who, Do: "nothing"})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Plans)) {
		add(c.Plans[name].base(), "plan "+name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Plans)) {
		add(c.Plans[name].seat(), "seats of "+name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Licenses)) {
		add(c.Licenses[name].ref(), "license "+name)
	}
	add(c.Free.ref(), "free plans")
	return out
}

// applies refuses an amount for a key that the configuration does not name.
func (w setupWish) applies(all []offer) error {
	for _, key := range slices.Sorted(maps.Keys(w.amounts)) {
		if !slices.ContainsFunc(all, func(o offer) bool { return o.LookupKey == key }) {
			return wrongUse("the configuration has no lookup key %s", key)
		}
	}
	return nil
}

// find asks Stripe for prices, archived ones too: they keep their lookup keys.
func (c *connector) find(ctx context.Context, all []offer) error {
	var keys []string
	for i := range all {
		o := &all[i]
		if o.LookupKey != "" {
			keys = append(keys, o.LookupKey)
			continue
		}
		if err := c.catalog.checkOne(ctx, o.Price, o.For); errors.Is(err, errCatalog) {
			o.Wrong, o.Note = true, err.Error()
		} else if err != nil {
			return err
		}
	}
	for some := range slices.Chunk(keys, maxLookupKeys) {
		params := [][2]string{{"limit", "100"}}
		for i, k := range some {
			params = append(params, [2]string{fmt.Sprintf("lookup_keys[%d]", i), k})
		}
		var list stripe.PriceList
		if err := c.api.get(ctx, "list prices", "/v1/prices", params, &list); err != nil {
			return fmt.Errorf("looking up prices: %w", err)
		}
		for _, p := range list.Data {
			for i := range all {
				if all[i].LookupKey == p.LookupKey && (all[i].Price == "" || all[i].archived) {
					all[i].take(p)
				}
			}
		}
	}
	return nil
}

// take notes a price that holds the lookup key.
func (o *offer) take(p *stripe.Price) {
	n := p.UnitAmount
	o.Price, o.archived, o.Currency, o.Amount, o.Interval = p.ID, !p.Active, string(p.Currency), &n, ""
	if p.Recurring == nil {
		o.Wrong, o.Note = p.Active, "it is not recurring, and subscriptions need one that is"
		return
	}
	o.Interval = string(p.Recurring.Interval)
}

// decide says what is to be done about a price.
func (w setupWish) decide(o *offer) {
	if o.LookupKey == "" {
		return
	}
	text, told := w.amounts[o.LookupKey]
	if o.Price != "" && !o.archived {
		if n, err := smallest(text, w.currency); told && err == nil && (n != *o.Amount || w.currency != o.Currency) && o.Note == "" {
			o.Note = "it is there at another amount, which is left alone"
		}
		return
	}
	o.Do, o.Note, o.Currency, o.Interval, o.Amount = "create", "", w.currency, w.interval, nil
	if o.archived {
		o.Note = o.Price + " is archived and gives its lookup key away"
	}
	if n, err := smallest(text, w.currency); told && err == nil {
		o.Amount = &n
	} else if o.For == "free plans" {
		o.Amount = new(int64)
	} else {
		o.Note = strings.TrimPrefix(o.Note+"; say what it costs: --price "+o.LookupKey+"=AMOUNT", "; ")
	}
}

// offer makes a price that is missing. Twice it cannot be made: in Stripe a
// lookup key belongs to one price.
func (c *connector) offer(ctx context.Context, account string, o *offer) error {
	if o.Do != "create" {
		return nil
	}
	req := newOp(createPrice, "/v1/prices")
	req.set("lookup_key", o.LookupKey)
	req.set("currency", o.Currency)
	req.setNumber("unit_amount", *o.Amount)
	req.set("recurring[interval]", o.Interval)
	req.set("product_data[name]", productName(o.LookupKey))
	if o.archived {
		req.set("transfer_lookup_key", "true")
	}
	var made stripe.Price
	if _, err := c.api.send(ctx, req, keyOf(account, req, "setup "+o.LookupKey, c.now().UnixMicro(), 0), &made); err != nil {
		return fmt.Errorf("making the price %s: %w; run setup again, which makes what is still missing", o.LookupKey, err)
	}
	o.Price, o.Do = made.ID, "created"
	return nil
}

// productName is what invoices call a product until somebody gives it a better
// name in Stripe.
func productName(key string) string {
	words := []rune(strings.NewReplacer("_", " ", "-", " ").Replace(key))
	words[0] = unicode.ToUpper(words[0])
	return string(words)
}

func (c *cli) printSetup(out offered) {
	rows := [][]string{{"LOOKUP KEY", "FOR", "PRICE", "AMOUNT", "DO", "NOTE"}}
	missing := 0
	for _, o := range out.Prices {
		money := "-"
		if o.Amount != nil {
			money = strings.TrimSuffix(amount(*o.Amount, o.Currency)+" a "+o.Interval, " a ")
		}
		row := []string{o.LookupKey, o.For, o.Price, money, o.Do, o.Note}
		for i := range row {
			if row[i] == "" {
				row[i] = "-"
			}
		}
		rows = append(rows, row)
		if o.Do == "create" {
			missing++
		}
	}
	c.table(rows)
	mode := "test mode"
	if out.Live {
		mode = "live mode"
	}
	switch {
	case missing > 0:
		fmt.Fprintf(c.out, "\nNothing was changed in %s (%s); add --yes to make what is missing.\n", clean(out.Account), mode)
	case out.Done:
		fmt.Fprintf(c.out, "\n%s (%s) has every lookup key of the configuration.\n", clean(out.Account), mode)
	}
}
