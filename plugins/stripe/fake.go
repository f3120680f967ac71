package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/avhub/avhub/plugins/stripe/stripefake"
)

func (c *cli) fakeVerb() *cobra.Command {
	var listen string
	var prices []string
	var perSecond int
	var leash, follow bool
	cmd := &cobra.Command{
		Use:   "fake",
		Short: "serve a simulated Stripe on this machine, to try a configuration on",
		Long: "Serves a simulated Stripe that forgets everything when it ends. Set api_url to its address and api_key to any\n" +
			"test key. Its page, at /, shows what it holds.",
		Example: "  avhub-stripe fake --listen 127.0.0.1:12111 --price pro=49.00 --price seat=5.00",
		Args:    args(0, "flags only"),
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "`address` on this machine")
	cmd.Flags().StringArrayVar(&prices, "price", []string{"starter=19.00", "pro=49.00", "enterprise=199.00", "seat=5.00"}, "a price by lookup key and amount a month, `KEY=AMOUNT`; repeatable")
	cmd.Flags().IntVar(&perSecond, "per-second", 25, "`requests` a second that are taken, as of a sandbox; 0: any number")
	cmd.Flags().BoolVar(&leash, "leash", false, "end when standard input does")
	cmd.Flags().BoolVar(&follow, "follow", false, "print each change of a subscription")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		opts := stripefake.Options{PerSecond: perSecond}
		for _, text := range prices {
			p, err := parsePrice(text)
			if err != nil {
				return err
			}
			opts.Prices = append(opts.Prices, p)
		}
		if follow {
			opts.OnChange = func(ch stripefake.Change) { fmt.Fprintf(c.out, "%s: %s\n", clean(ch.Customer), clean(ch.What)) }
		}
		host, _, err := net.SplitHostPort(listen)
		if err != nil || !loopback(host) {
			return wrongUse("--listen takes an address on this machine, such as 127.0.0.1:12111")
		}
		ctx, cancel := context.WithCancel(cmd.Context())
		defer cancel()
		if leash {
			go func() {
				defer cancel()
				_, _ = io.Copy(io.Discard, c.in)
			}()
		}
		return c.serveFake(ctx, listen, stripefake.New(opts))
	}
	return cmd
}

func (c *cli) serveFake(ctx context.Context, listen string, fake *stripefake.Server) error {
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("serving a simulated Stripe: %w", err)
	}
	fmt.Fprintf(c.out, "http://%s\n", ln.Addr())
	server := &http.Server{Handler: fake, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving a simulated Stripe: %w", err)
	}
	return nil
}

// parsePrice reads "pro=49.00".
func parsePrice(text string) (stripefake.Price, error) {
	key, amount, ok := strings.Cut(text, "=")
	whole, cents, _ := strings.Cut(amount, ".")
	n, err := strconv.ParseUint(whole+(cents + "00")[:2], 10, 40)
	if !ok || key == "" || err != nil || len(cents) > 2 {
		return stripefake.Price{}, wrongUse("--price takes KEY=AMOUNT, such as pro=49.00")
	}
	return stripefake.Price{ID: "price_" + key, LookupKey: key, Amount: int64(n)}, nil
}
