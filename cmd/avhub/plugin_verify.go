package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
	"github.com/avhub/avhub/sdk/plugin/plugintest/laws"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// verifyFlags are the flags of plugin verify.
type verifyFlags struct {
	config string
	set    []string
	env    []string
	world  string
	laws   []int
	seed   uint64
	tries  int
}

func (c *cli) pluginVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify PROGRAM [ARG]...",
		Short: "Judge a connector by the laws that connectors keep",
		Long: "Starts a connector, in whatever language it is written, as a hub does, plays made-up histories\n" +
			"of events, and judges it by fourteen laws: nothing twice, whatever is killed or lost; order,\n" +
			"batches and repeats do not matter; bad events and outages get the right verdicts; and so on.\n\n" +
			"With --world the connector works on a fake of its outside world, which a small server of yours\n" +
			"plays: docs/connectors-testing.md tells what it has to answer. Without, the connector gets the\n" +
			"configuration of --config and --set, and only what the wire shows is judged; laws about what\n" +
			"is outside are reported as not decided then. THE CONNECTOR DOES WHAT IT DOES: never point it\n" +
			"at something real, as it gets hundreds of made-up events.\n\n" +
			"Options of the program stand behind --. Exit code 1 if a law is broken.",
		Example: "  avhub plugin verify --world http://127.0.0.1:9000 ./my-connector\n" +
			"  avhub plugin verify --set url=http://127.0.0.1:9000/hook --law 1 --law 12 ./bin/avhub-notify\n" +
			"  avhub plugin verify --env PATH=$PATH --world http://127.0.0.1:9000 -- python3 -u connector.py",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "" {
				return wrongUse("the connector's program is missing")
			}
			return nil
		},
	}
	f := &verifyFlags{}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "", "the connector's own configuration, a JSON or YAML `file`")
	flags.StringArrayVar(&f.set, "set", nil, "set a member of the connector's configuration: `path=value`; repeatable")
	flags.StringArrayVar(&f.env, "env", nil, "pass `NAME=value` to the connector, which sees no other variable; repeatable")
	flags.StringVar(&f.world, "world", "", "`URL` of the fake world, which also gives the configuration")
	flags.IntSliceVar(&f.laws, "law", nil, "judge by this law alone, by its `number`; repeatable")
	flags.Uint64Var(&f.seed, "seed", 0, "play the histories of an earlier run: the `number` that it told (default another one each time)")
	flags.IntVar(&f.tries, "histories", 6, "how many histories to play for each law, a `number`")
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, opts, err := c.verifySubject(f, args)
		if err != nil {
			return err
		}
		if !flags.Changed("seed") {
			opts.Seed = uint64(rand.Uint32())
		}
		if !*asJSON {
			opts.Began, opts.Done = c.playing, c.printResult
		}
		report, err := laws.Run(cmd.Context(), s, opts)
		if err != nil {
			return fmt.Errorf("verifying %s: %w", args[0], err)
		}
		if *asJSON {
			err = c.writeJSON(report)
		} else {
			err = c.printVerification(report)
		}
		if err == nil && !report.OK {
			err = errReported
		}
		return err
	}
	return cmd
}

// verifySubject says how the connector is started, and in which world.
func (c *cli) verifySubject(f *verifyFlags, args []string) (laws.Subject, laws.Options, error) {
	opts := laws.Options{Laws: f.laws, Seed: f.seed, Histories: f.tries}
	all := laws.All()
	for _, n := range f.laws {
		if !slices.ContainsFunc(all, func(l laws.Law) bool { return l.Number == n }) {
			return laws.Subject{}, opts, wrongUse("there is no law %d; there are %d", n, len(all))
		}
	}
	if f.tries < 1 || f.tries > 1000 {
		return laws.Subject{}, opts, wrongUse("--histories takes a number from 1 to 1000")
	}
	spec := plugin.Spec{Name: "verify", Command: args, Env: map[string]string{}}
	for _, pair := range f.env {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return laws.Subject{}, opts, wrongUse("--env takes NAME=value")
		}
		spec.Env[name] = value
	}
	start := func(ctx context.Context) (laws.Life, error) { return startLife(ctx, spec) }
	s := laws.Subject{Start: start, Process: start}
	if f.world != "" {
		if f.config != "" || len(f.set) > 0 {
			return s, opts, wrongUse("--world gives the configuration, so --config and --set are of no use beside it")
		}
		world, err := laws.RemoteWorld(f.world)
		if err != nil {
			return s, opts, wrongUse("--world: %s", err)
		}
		s.World = world
		return s, opts, nil
	}
	config, err := connectorConfig(f.config, f.set)
	if err != nil {
		return s, opts, err
	}
	s.World = func(context.Context) (laws.World, error) { return laws.World{Config: config}, nil }
	return s, opts, nil
}

// connectorConfig reads a connector's own configuration and sets members of it.
func connectorConfig(file string, set []string) ([]byte, error) {
	tree := map[string]any{}
	if file != "" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the connector's configuration: %w", err)
		}
		if err := yaml.Unmarshal(raw, &tree); err != nil {
			return nil, fmt.Errorf("reading the connector's configuration %s: it is neither JSON nor YAML with an object on top", file)
		}
	}
	pairs, err := parseSet(set)
	if err != nil {
		return nil, err
	}
	for path, value := range pairs {
		parts := strings.Split(path, ".")
		at := tree
		for _, part := range parts[:len(parts)-1] {
			next, ok := at[part].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[part] = next
			}
			at = next
		}
		at[parts[len(parts)-1]] = value
	}
	out, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("reading the connector's configuration %s: it holds something that JSON cannot say: %w", file, err)
	}
	return out, nil
}

// life is a connector's process as the laws need it.
type life struct {
	*plugin.Alone
	log *lifeLog
}

type lifeLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lifeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func startLife(ctx context.Context, spec plugin.Spec) (laws.Life, error) {
	l := life{log: &lifeLog{}}
	var err error
	l.Alone, err = plugin.StartAlone(ctx, spec, plugin.Options{Log: zerolog.New(l.log)})
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (l life) Client() pluginpb.ConnectorClient { return l.Alone.Client() }
func (l life) Leaks() []string                  { return nil } // they end with the process

func (l life) Stop() error {
	l.Alone.Stop()
	return nil
}

func (l life) Log() string {
	l.log.mu.Lock()
	defer l.log.mu.Unlock()
	return l.log.b.String()
}

// playing shows which law is being judged, where somebody watches.
func (c *cli) playing(law laws.Law) {
	if isTerminal(c.err) {
		fmt.Fprintf(c.err, "\r   %2d %s …\x1b[K", law.Number, law.Name)
	}
}

// printResult prints one law's line as soon as it is known.
func (c *cli) printResult(r laws.Result) {
	if isTerminal(c.err) {
		fmt.Fprint(c.err, "\r\x1b[K")
	}
	sign, note := c.paint(c.out, green, "✓"), ""
	switch r.Outcome {
	case laws.Broken:
		sign = c.paint(c.out, red, "✗")
	case laws.Undecided:
		sign, note = c.paint(c.out, yellow, "–"), "\n       not decided: "+clean(r.Why)
	}
	_ = c.write(fmt.Sprintf("%s  %2d  %s %s%s\n", sign, r.Number, r.Sentence,
		c.paint(c.out, dim, "("+took(time.Duration(r.Took)*time.Millisecond)+")"), note))
}

// printReport prints what is to say about broken laws, at the end.
func (c *cli) printVerification(r laws.Report) error {
	var b strings.Builder
	counts := map[laws.Outcome]int64{}
	part := func(head string, lines []string) {
		if len(lines) == 0 {
			return
		}
		fmt.Fprintf(&b, "  %s:\n", head)
		for _, line := range lines {
			fmt.Fprintf(&b, "    %s\n", clean(line))
		}
	}
	for _, law := range r.Results {
		counts[law.Outcome]++
		if law.Outcome != laws.Broken {
			continue
		}
		fmt.Fprintf(&b, "\n%s\n", c.paint(c.out, bold, fmt.Sprintf("law %d is broken: %s", law.Number, law.Sentence)))
		for line := range strings.SplitSeq(law.Why, "\n") {
			fmt.Fprintf(&b, "  %s\n", clean(line))
		}
		part("the shortest history found", law.History)
		part("it logged at last", law.Log)
	}
	fmt.Fprintf(&b, "\n%s %s: %s kept, %d broken, %d not decided; seed %d\n", clean(r.Connector), clean(r.Version),
		count(counts[laws.Held], "law"), counts[laws.Broken], counts[laws.Undecided], r.Seed)
	if !r.OK {
		fmt.Fprintf(&b, "Repeat it with --seed %d.\n", r.Seed)
	}
	return c.write(b.String())
}
