module streamer

go 1.22
