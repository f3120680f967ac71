package fanout

import (
	"context"
	"errors"
)

// finish waits for the calls in flight and commits their verdicts: they were
// made, so what they did counts. It returns why.
func (c *Consumer) finish(why error) error {
	if errors.Is(why, ErrFenced) {
		c.abandon()
		return why
	}
	ctx, cancel := context.WithTimeout(context.Background(), finishTimeout)
	defer cancel()
	// The cursor must not pass what the database did not take yet.
	if c.unsaved != nil {
		if err := c.persist(ctx, "commit verdicts", c.save); err != nil {
			return errors.Join(why, err)
		}
	}
	for c.busy() {
		select {
		case b := <-c.results:
			if err := c.take(ctx, b); err != nil {
				return errors.Join(why, err)
			}
		case <-ctx.Done():
			return errors.Join(why, errors.New("calls to the plugin did not end; their events will be delivered again"))
		}
	}
	status := "stopped"
	if c.isHalted() {
		status, why = halted, ErrHalted
	}
	c.window.advance()
	ahead, err := c.ahead(ctx)
	if err != nil {
		return errors.Join(why, err)
	}
	if err := c.commit(ctx, &changes{status: status, ahead: ahead}); err != nil {
		return errors.Join(why, err)
	}
	return why
}

// ignoreEnd turns the end of ctx into success.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, ErrFenced) && !errors.Is(err, ErrHalted) {
		return nil
	}
	return err
}
