package remote

import (
	"github.com/postilion/postilion/internal/deliver/remote/sevenbit"
)

// inspect looks at the content once an attempt, when a host cannot simply take it as it is.
func (a *attempt) inspect() (*sevenbit.Plan, error) {
	if a.plan != nil {
		return a.plan, nil
	}
	body, err := a.job.Body()
	if err != nil {
		return nil, err
	}
	defer body.Close()
	a.plan, err = sevenbit.Scan(body)
	return a.plan, err
}
