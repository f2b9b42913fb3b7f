package reason

import "fmt"

// Language is a language that texts exist in.
type Language uint8

const (
	English Language = iota
	Korean
	Japanese
)

// The reasons. Each is a value to return as it is, or through With and Because.
var (
	LocalError       = &Error{Temporary, 451, "4.3.0", "local-error", nil, "", nil}
	QueueUnavailable = &Error{Temporary, 451, "4.3.0", "queue-unavailable", nil, "", nil}
	DiskFull         = &Error{Temporary, 452, "4.3.1", "disk-full", nil, "", nil}
)

// texts gives each reason's public text. A %s takes the next of the Error's Args.
var texts = map[ID][3]string{
	LocalError.Reason:       {English: "local error in processing", Korean: "서버 내부 오류", Japanese: "サーバー内部エラー"},
	QueueUnavailable.Reason: {English: "queue is not available, please try again later", Korean: "큐를 사용할 수 없습니다. 나중에 다시 시도하십시오", Japanese: "キューが利用できません。後でもう一度お試しください"},
	DiskFull.Reason:         {English: "insufficient system storage", Korean: "시스템 저장 공간이 부족합니다", Japanese: "システムの記憶領域が不足しています"},
}

// Text returns the public text in the given language, without codes.
func (e *Error) Text(lang Language) string {
	t, ok := texts[e.Reason]
	if !ok {
		return string(e.Reason)
	}
	s := t[lang]
	if s == "" {
		s = t[English]
	}
	if len(e.Args) == 0 {
		return s
	}
	args := make([]any, len(e.Args))
	for i, a := range e.Args {
		args[i] = a
	}
	return fmt.Sprintf(s, args...)
}
