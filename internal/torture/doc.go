// Package torture kills hubs, plugins and databases again and again while events
// come in, stops them and cuts them off, and then proves that nothing was lost,
// doubled or put out of order. `make torture` runs it for as long as one likes; its
// tests are a short form of the same.
package torture
