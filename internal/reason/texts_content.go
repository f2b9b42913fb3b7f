package reason

// What a message contains: the operator's content rules.
var (
	ContentRefused  = &Error{Permanent, 550, "5.7.1", "content-refused", nil, "", nil}  // the rule's text
	ContentDeferred = &Error{Temporary, 451, "4.7.1", "content-deferred", nil, "", nil} // the rule's text
	// ContentTooComplex is of a message that the rules cannot be held against to its end.
	ContentTooComplex = &Error{Permanent, 550, "5.7.0", "content-too-complex", nil, "", nil} // what there is too much of
)

// contentTexts are texts' part for this file.
var contentTexts = map[ID][3]string{
	ContentRefused.Reason:    {"%[1]s", "메시지의 내용이 거부되었습니다: %[1]s", "メッセージの内容が拒否されました: %[1]s"},
	ContentDeferred.Reason:   {"%[1]s", "메시지의 내용 때문에 지금은 받지 않습니다: %[1]s", "メッセージの内容により今は受け取りません: %[1]s"},
	ContentTooComplex.Reason: {"the message cannot be checked: it has too many %[1]s", "메시지를 검사할 수 없습니다: 너무 많습니다: %[1]s", "メッセージを検査できません。多すぎます: %[1]s"},
}
