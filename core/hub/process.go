package hub

import (
	"context"
	"sync"

	"github.com/avhub/avhub/core/plugin"
	"github.com/rs/zerolog"
)

// process is a plugin's process on this hub. It runs while the hub works on at
// least one of the plugin's partitions, and all of them share it.
type process struct {
	log  zerolog.Logger
	make func() *plugin.Supervisor

	mu    sync.Mutex
	users int
	live  *plugin.Supervisor
	stop  context.CancelFunc
	ended chan struct{} // closed when live has been drained
}

// join returns the supervisor of the process, which is started if need be. A
// former one is drained first: what it holds must be free.
func (p *process) join() *plugin.Supervisor {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.live != nil && p.users == 0 {
		ended := p.ended
		p.mu.Unlock()
		<-ended
		p.mu.Lock()
	}
	if p.live == nil {
		p.start()
	}
	p.users++
	return p.live
}

// start is called with the lock held.
func (p *process) start() {
	ctx, stop := context.WithCancel(context.Background())
	live, ended := p.make(), make(chan struct{})
	p.live, p.stop, p.ended = live, stop, ended
	go func() {
		err := live.Run(ctx)
		if err != nil && ctx.Err() == nil {
			p.log.Error().Err(err).Msg("the plugin's supervisor ended")
		}
		<-ctx.Done() // its users leave first
		p.mu.Lock()
		p.live = nil
		p.mu.Unlock()
		close(ended)
	}()
}

// leave ends one use. The process is drained after the last one, which waits
// until that is done; toTheEnd, every one does.
func (p *process) leave(toTheEnd bool) {
	p.mu.Lock()
	p.users--
	last, ended := p.users == 0, p.ended
	if last {
		p.stop()
	}
	p.mu.Unlock()
	if last || toTheEnd {
		<-ended
	}
}

// supervisor is that of the process that runs; nil: none does.
func (p *process) supervisor() *plugin.Supervisor {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users == 0 {
		return nil
	}
	return p.live
}
