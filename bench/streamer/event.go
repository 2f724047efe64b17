package main

// An event as a model would stream it: 156 bytes, of which three fields change.
//
//	data: {"id":"chatcmpl-000017","n":00000042,"at":0000000000123456789,...}\n\n
const (
	eventTemplate = `data: {"id":"chatcmpl-000000","n":00000000,"at":0000000000000000000,` +
		`"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" token"}}]}` + "\n\n"
	eventSize   = len(eventTemplate)
	streamAt    = 22
	streamWidth = 6
	numberAt    = 34
	numberWidth = 8
	sentAt      = 48
	sentWidth   = 19
)

func putDigits(into []byte, value int64) {
	for at := len(into) - 1; at >= 0; at-- {
		into[at] = byte('0' + value%10)
		value /= 10
	}
}

// digits is -1 for anything else.
func digits(text []byte) int64 {
	var value int64
	for _, c := range text {
		if c < '0' || c > '9' {
			return -1
		}
		value = value*10 + int64(c-'0')
	}
	return value
}

// fixed says whether whatever does not change is as it was sent.
func fixed(event []byte) bool {
	return string(event[:streamAt]) == eventTemplate[:streamAt] &&
		string(event[streamAt+streamWidth:numberAt]) == eventTemplate[streamAt+streamWidth:numberAt] &&
		string(event[numberAt+numberWidth:sentAt]) == eventTemplate[numberAt+numberWidth:sentAt] &&
		string(event[sentAt+sentWidth:]) == eventTemplate[sentAt+sentWidth:]
}
