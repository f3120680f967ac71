package main

func run() int {
	connectorPlugin().Main()
	return 0
}
