// Package ask answers questions about the mirror: lists with filters, page by
// page, and one row with what belongs to it. It is the one place that knows what
// can be listed, by which filters, and what can be shown beside a row; the
// command and the API are written from its [Resources].
//
// It only reads, outside of any transaction. What takes several queries (a row
// and what belongs to it) may therefore see events that are committed between
// them.
package ask
