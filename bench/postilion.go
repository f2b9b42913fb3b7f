package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// postilion is our server in a folder of its own, on free loopback ports, with the
// limits per client lifted, since all load comes from one.
type postilion struct {
	binary, dir string
	cmd         *exec.Cmd
	out         *os.File // for its standard output; nil for none
	smtp, pop3  string
}

// build compiles the program into dir.
func build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "postilion")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/postilion/postilion/cmd/postilion")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	return binary, cmd.Run()
}

// startPostilion sets a server up and starts it; set are further keys of the
// configuration. As root each role runs under its own uid, unless single.
func startPostilion(ctx context.Context, binary, dir string, single bool, set ...string) (*postilion, error) {
	p := &postilion{binary: binary, dir: dir}
	for _, listener := range []string{"smtp", "submission", "submissions", "pop3", "pop3s", "metrics"} {
		set = append(set, listener+".listen=127.0.0.1:0")
	}
	// The load is the measurement's own, and no reason to turn mail away.
	set = append(set, "smtp.max_per_client=20000", "smtp.max_commands=1000000", "log.to=file", "process.queue_load=-1", "floors.refuse_load=-1")
	return p, p.start(ctx, single, set)
}

func (p *postilion) start(ctx context.Context, single bool, set []string) error {
	args := []string{"quickstart", "bench.example", "--json", "--data", p.dir}
	if single {
		set = append(set, "process.single=true")
	}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	p.out = w
	if err := p.launch(ctx, args); err != nil {
		return err
	}
	var told struct{ Listeners map[string]string }
	if err := json.NewDecoder(r).Decode(&told); err != nil {
		p.stop()
		return fmt.Errorf("postilion said nothing of its listeners, see %s.log: %w", p.dir, err)
	}
	p.smtp, p.pop3 = told.Listeners["smtp"], told.Listeners["pop3"]
	return p.up()
}

// run starts the program and waits until p.smtp greets.
func (p *postilion) run(ctx context.Context, args ...string) error {
	if err := p.launch(ctx, args); err != nil {
		return err
	}
	return p.up()
}

func (p *postilion) launch(ctx context.Context, args []string) error {
	log, err := os.Create(p.dir + ".log")
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	p.cmd = exec.CommandContext(ctx, p.binary, args...)
	p.cmd.Stderr = log
	if p.out != nil {
		p.cmd.Stdout = p.out
		defer p.out.Close()
	}
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(os.Interrupt) }
	p.cmd.WaitDelay = 20 * time.Second
	return p.cmd.Start()
}

// up waits for the greeting.
func (p *postilion) up() error {
	for range 400 {
		if c, err := dial(p.smtp); err == nil {
			c.quit()
			return nil
		}
		time.Sleep(25 * time.Millisecond)
	}
	p.stop()
	return fmt.Errorf("postilion does not answer on %s, see %s.log", p.smtp, p.dir)
}

func (p *postilion) usage() (usage, error) { return usageOf(p.cmd.Process.Pid) }

// verb runs one of the program's verbs on the server's folder.
func (p *postilion) verb(input string, args ...string) error {
	cmd := exec.Command(p.binary, append(args, "--data", p.dir)...)
	if input != "" {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer r.Close()
		fmt.Fprintln(w, input)
		w.Close()
		cmd.Stdin = r
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("postilion %v: %w: %s", args, err, out)
	}
	return nil
}

// users is the number of mailboxes that deliveries are spread over.
const users = 100

func (p *postilion) addUsers() error {
	for i := range users {
		if err := p.verb("bench-password-of-no-use", "account", "add", fmt.Sprintf("user%d@bench.example", i), "--password-stdin"); err != nil {
			return err
		}
	}
	return nil
}

func (p *postilion) maildirs() string { return filepath.Join(p.dir, "mail") }

func (p *postilion) stop() error {
	p.cmd.Process.Signal(os.Interrupt)
	return p.cmd.Wait()
}
