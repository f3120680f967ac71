package plugin

import (
	"context"
	"fmt"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// ping asks for a sign of life. A frozen process never answers.
func (inst *instance) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, inst.timing.pingWithin)
	defer cancel()
	resp, err := healthpb.NewHealthClient(inst.conn).Check(ctx, &healthpb.HealthCheckRequest{Service: goplugin.GRPCServiceName})
	if err != nil {
		return err
	}
	if resp.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("it reports %s", resp.GetStatus())
	}
	return nil
}

// watch returns why the instance cannot be used any more, or nil when ctx ends.
func (inst *instance) watch(ctx context.Context) error {
	if inst.proc == nil {
		// At a breakpoint it answers nothing, and that is all right.
		select {
		case <-ctx.Done():
			return nil
		case <-inst.gone:
			return errNotThere
		}
	}
	tick := time.NewTicker(inst.timing.pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-inst.told:
			return inst.wish()
		case <-inst.proc.exited:
			return inst.proc.crash()
		case <-tick.C:
			err := inst.ping(ctx)
			switch {
			case err == nil || ctx.Err() != nil:
			case inst.lost(ctx, err):
				return inst.proc.crash()
			case status.Code(err) == codes.DeadlineExceeded:
				return inst.giveUp("no sign of life for " + inst.timing.pingWithin.String())
			default:
				return inst.giveUp(err.Error())
			}
		}
	}
}

// giveUp kills a process that does not answer.
func (inst *instance) giveUp(why string) error {
	inst.proc.kill(why)
	return &Crash{Exit: why, Tail: inst.proc.tail.end(), text: "the plugin does not answer: " + why}
}
