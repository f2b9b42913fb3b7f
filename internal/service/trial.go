package service

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/deliver/runas/trial"
	osfs "github.com/postilion/postilion/internal/fs/os"
	"github.com/postilion/postilion/internal/role"
	"github.com/postilion/postilion/internal/service/owners"
)

// This file is what is otherwise in a trial: a server beside the old one, which touches nothing of it.

// trialFolder is where a trial's deliveries are.
func trialFolder(c *config.Config) string { return filepath.Join(c.Data, "trial") }

// makeTrialFolder makes a trial's folder, for the role that delivers.
func makeTrialFolder(c *config.Config, ids *owners.IDs) error {
	if !c.Trial.Enabled {
		return nil
	}
	path := trialFolder(c)
	if err := os.MkdirAll(path, 0o700); err != nil || ids == nil {
		return err
	}
	return owners.Give(path, role.Local, ids)
}

// users returns how deliveries reach users of the system: real, or what stands in for it in a trial.
func (p *process) users(real runas.Service) (runas.Service, error) {
	if !p.cfg.Trial.Enabled || real == nil {
		return real, nil
	}
	tree, err := osfs.New(trialFolder(p.cfg))
	if err != nil {
		return nil, err
	}
	log := p.logger()
	return &trial.Service{Real: real, Folder: tree, Told: func(u runas.User, args []string) {
		log.Info("trial: a program would have been run", "user", u.Name, "program", strings.Join(args, " "))
	}}, nil
}

// remoteTarget returns who carries mail to other hosts: in a trial nobody, unless told.
func (p *process) remoteTarget(real deliver.Target) deliver.Target {
	if !p.cfg.Trial.Enabled || p.cfg.Trial.Send {
		return real
	}
	return notSent{}
}

// notSent takes mail for other hosts and keeps it from them.
type notSent struct{}

func (notSent) Deliver(_ context.Context, job *deliver.Job) []deliver.Verdict {
	verdicts := make([]deliver.Verdict, len(job.Recipients))
	for i, r := range job.Recipients {
		verdicts[i].Text = "trial: not sent to " + r.To.Domain
	}
	return verdicts
}

func sendNote(c *config.Config) string {
	if c.Trial.Send {
		return "mail to other hosts is sent"
	}
	return "nothing is sent to other hosts"
}
