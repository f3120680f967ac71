package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/simulator"
	"github.com/spf13/cobra"
)

// sendWithin bounds one command to the simulator, the hub's answer and retries
// included.
const sendWithin = 2 * time.Minute

func (c *cli) eventSend() *cobra.Command {
	var command simulator.Command
	var dir, channel, forge string
	var set []string
	cmd := &cobra.Command{
		Use:   "send --type TYPE",
		Short: "Have the simulated AuthVital of a running `avhub dev` send an event",
		Long: "Has the simulated AuthVital of a running `avhub dev` make an event out of the companies that\n" +
			"it knows, sign it and send it to the hub. --set changes members of its data by dotted path;\n" +
			"in an update these are the changes. Values are read as JSON, and as text where they are\n" +
			"none. A type that is not in the catalog has the data that is set.\n\n" +
			"With --forge the delivery is spoiled, and the hub has to refuse it: bad_signature, wrong_key,\n" +
			"unknown_key, tampered, stale or future. Exit code 1 if the hub did not answer as it should.",
		Example: "  avhub event send --type tenant.updated --tenant river-bakery --set plan=pro\n" +
			"  avhub event send --type tenant.created --channel system --set name='My Company'\n" +
			"  avhub event send --type member.left --duplicate\n" +
			"  avhub event send --type tenant.updated --forge=stale",
		Args: noArgs,
	}
	flags := cmd.Flags()
	flags.StringVar(&command.Type, "type", "", "`type` of the event, such as tenant.updated; required")
	flags.StringVar(&channel, "channel", "", "`webhook` or system (default: what AuthVital uses for the type)")
	flags.StringVar(&command.Tenant, "tenant", "", "`slug` or id of the tenant that it is about (default: the newest)")
	flags.StringArrayVar(&set, "set", nil, "set a member of the data: `path=value`, such as settings.require_mfa=true; repeatable")
	flags.BoolVar(&command.Duplicate, "duplicate", false, "send it twice")
	flags.StringVar(&forge, "forge", "", "spoil the delivery in this `way` (given without one: bad_signature)")
	flags.Lookup("forge").NoOptDefVal = string(simulator.BadSignature)
	flags.StringVar(&dir, "dir", devDir, "`folder` of the running dev")
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if command.Type == "" {
			return wrongUse("--type is missing; one is tenant.updated, and docs/events.md lists all")
		}
		command.Channel, command.Forge = event.Channel(channel), simulator.Forge(forge)
		if channel != "" && command.Channel != event.ChannelWebhook && command.Channel != event.ChannelSystem {
			return wrongUse("--channel takes %s or %s", event.ChannelWebhook, event.ChannelSystem)
		}
		var err error
		if command.Set, err = parseSet(set); err != nil {
			return err
		}
		is, err := devFolder{dir}.running()
		if errors.Is(err, errNoDev) {
			return fmt.Errorf("sending an event: %w in %s; start it in another terminal, or name its folder with --dir", err, dir)
		}
		if err != nil {
			return err
		}
		result, err := sendCommand(cmd.Context(), is, command)
		if err != nil {
			return err
		}
		if *asJSON {
			err = c.writeJSON(result)
		} else {
			err = c.printSent(result)
		}
		if err != nil {
			return err
		}
		return c.judgeSent(result, command.Forge)
	}
	return cmd
}

// parseSet reads path=value pairs.
func parseSet(pairs []string) (map[string]any, error) {
	set := map[string]any{}
	for _, pair := range pairs {
		path, text, ok := strings.Cut(pair, "=")
		if !ok || path == "" {
			return nil, wrongUse("--set takes path=value, such as plan=pro")
		}
		var value any = text
		if json.Valid([]byte(text)) {
			value = json.RawMessage(text)
		}
		set[path] = value
	}
	return set, nil
}

// sendCommand asks the simulator.
func sendCommand(ctx context.Context, is control, command simulator.Command) (*simulator.Result, error) {
	body, err := json.Marshal(command)
	if err != nil {
		return nil, fmt.Errorf("sending an event: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, is.URL+simulator.ControlPath, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("sending an event: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+is.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("sending an event: %w; is `avhub dev` still running?", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return nil, fmt.Errorf("sending an event: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var refused struct{ Error string }
		if err := json.Unmarshal(answer, &refused); err != nil || refused.Error == "" {
			refused.Error = fmt.Sprintf("the simulator answered %s", resp.Status)
		}
		return nil, fmt.Errorf("sending an event: %s", refused.Error)
	}
	var result simulator.Result
	if err := json.Unmarshal(answer, &result); err != nil {
		return nil, fmt.Errorf("sending an event: reading the simulator's answer: %w", err)
	}
	return &result, nil
}

func (c *cli) printSent(result *simulator.Result) error {
	for at := result; at != nil; at = at.Duplicate {
		text := fmt.Sprintf("%s %s, channel %s: the hub answered %d %s\n", at.Type, at.ID, at.Channel, at.Status, cleanJSON(at.Response))
		if err := c.write(clean(strings.TrimSuffix(text, "\n")) + "\n"); err != nil {
			return err
		}
	}
	return nil
}

// judgeSent fails if the hub did not answer as it should.
func (c *cli) judgeSent(result *simulator.Result, forge simulator.Forge) error {
	for at := result; at != nil; at = at.Duplicate {
		switch accepted := at.Status >= 200 && at.Status < 300; {
		case forge != simulator.Honest && at.Status != http.StatusUnauthorized:
			return fmt.Errorf("the hub answered %d to a forged event, not 401", at.Status)
		case forge == simulator.Honest && !accepted:
			return fmt.Errorf("the hub did not accept the event")
		}
	}
	return nil
}
