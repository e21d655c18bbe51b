package coreapi

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// review answers one kind of question about the caller or about access. Nothing is stored.
type review struct {
	singular   string
	namespaced bool
	empty      func() runtime.Object
	answer     func(ctx context.Context, question runtime.Object) error
}

func (r review) New() runtime.Object     { return r.empty() }
func (review) Destroy()                  {}
func (r review) NamespaceScoped() bool   { return r.namespaced }
func (r review) GetSingularName() string { return r.singular }

// Create answers the question in place.
func (r review) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, _ *metav1.CreateOptions) (runtime.Object, error) {
	if validate != nil {
		if err := validate(ctx, obj.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	return obj, r.answer(ctx, obj)
}

// authenticationReviews serves kubectl auth whoami.
func authenticationReviews() map[string]rest.Storage {
	return map[string]rest.Storage{"selfsubjectreviews": review{
		singular: "selfsubjectreview",
		empty:    func() runtime.Object { return &authenticationv1.SelfSubjectReview{} },
		answer: func(ctx context.Context, obj runtime.Object) error {
			caller, err := callerOf(ctx)
			if err != nil {
				return err
			}
			extra := map[string]authenticationv1.ExtraValue{}
			for key, values := range caller.GetExtra() {
				extra[key] = values
			}
			obj.(*authenticationv1.SelfSubjectReview).Status.UserInfo = authenticationv1.UserInfo{
				Username: caller.GetName(), UID: caller.GetUID(), Groups: caller.GetGroups(), Extra: extra,
			}
			return nil
		},
	}}
}

// authorizationReviews serves kubectl auth can-i, and the questions of other programs.
func authorizationReviews(a authorizer.Authorizer) map[string]rest.Storage {
	return map[string]rest.Storage{
		"selfsubjectaccessreviews": review{
			singular: "selfsubjectaccessreview",
			empty:    func() runtime.Object { return &authorizationv1.SelfSubjectAccessReview{} },
			answer: func(ctx context.Context, obj runtime.Object) (err error) {
				q := obj.(*authorizationv1.SelfSubjectAccessReview)
				caller, err := callerOf(ctx)
				if err != nil {
					return err
				}
				q.Status, err = decide(ctx, a, caller, q.Spec.ResourceAttributes, q.Spec.NonResourceAttributes)
				return err
			},
		},
		"subjectaccessreviews": review{
			singular: "subjectaccessreview",
			empty:    func() runtime.Object { return &authorizationv1.SubjectAccessReview{} },
			answer: func(ctx context.Context, obj runtime.Object) (err error) {
				q := obj.(*authorizationv1.SubjectAccessReview)
				q.Status, err = decide(ctx, a, subject(q.Spec), q.Spec.ResourceAttributes, q.Spec.NonResourceAttributes)
				return err
			},
		},
		"localsubjectaccessreviews": review{
			singular: "localsubjectaccessreview", namespaced: true,
			empty: func() runtime.Object { return &authorizationv1.LocalSubjectAccessReview{} },
			answer: func(ctx context.Context, obj runtime.Object) (err error) {
				q := obj.(*authorizationv1.LocalSubjectAccessReview)
				if q.Spec.ResourceAttributes == nil || q.Spec.ResourceAttributes.Namespace != request.NamespaceValue(ctx) {
					return apierrors.NewBadRequest("spec.resourceAttributes.namespace must be the namespace of the review")
				}
				q.Status, err = decide(ctx, a, subject(q.Spec), q.Spec.ResourceAttributes, nil)
				return err
			},
		},
		"selfsubjectrulesreviews": review{
			singular: "selfsubjectrulesreview",
			empty:    func() runtime.Object { return &authorizationv1.SelfSubjectRulesReview{} },
			answer:   rules(a),
		},
	}
}

// rules answers with everything or nothing: there are no roles here, only one group that may do all.
func rules(a authorizer.Authorizer) func(context.Context, runtime.Object) error {
	return func(ctx context.Context, obj runtime.Object) error {
		q := obj.(*authorizationv1.SelfSubjectRulesReview)
		caller, err := callerOf(ctx)
		if err != nil {
			return err
		}
		all := &authorizationv1.ResourceAttributes{Namespace: q.Spec.Namespace, Verb: "*", Group: "*", Resource: "*"}
		status, err := decide(ctx, a, caller, all, nil)
		if err != nil {
			return err
		}
		q.Status = authorizationv1.SubjectRulesReviewStatus{
			ResourceRules: []authorizationv1.ResourceRule{}, NonResourceRules: []authorizationv1.NonResourceRule{},
		}
		if status.Allowed {
			every := []string{"*"}
			q.Status.ResourceRules = []authorizationv1.ResourceRule{{Verbs: every, APIGroups: every, Resources: every}}
			q.Status.NonResourceRules = []authorizationv1.NonResourceRule{{Verbs: every, NonResourceURLs: every}}
		}
		return nil
	}
}

func callerOf(ctx context.Context) (user.Info, error) {
	caller, ok := request.UserFrom(ctx)
	if !ok {
		return nil, apierrors.NewUnauthorized("the request has no user")
	}
	return caller, nil
}

func subject(s authorizationv1.SubjectAccessReviewSpec) user.Info {
	extra := map[string][]string{}
	for key, values := range s.Extra {
		extra[key] = values
	}
	return &user.DefaultInfo{Name: s.User, UID: s.UID, Groups: s.Groups, Extra: extra}
}

func decide(ctx context.Context, a authorizer.Authorizer, who user.Info, r *authorizationv1.ResourceAttributes,
	n *authorizationv1.NonResourceAttributes,
) (authorizationv1.SubjectAccessReviewStatus, error) {
	attributes := authorizer.AttributesRecord{User: who}
	switch {
	case (r == nil) == (n == nil):
		return authorizationv1.SubjectAccessReviewStatus{}, apierrors.NewBadRequest(
			"exactly one of spec.resourceAttributes and spec.nonResourceAttributes must be specified")
	case r != nil:
		attributes.ResourceRequest, attributes.Verb, attributes.Namespace = true, r.Verb, r.Namespace
		attributes.APIGroup, attributes.APIVersion = r.Group, r.Version
		attributes.Resource, attributes.Subresource, attributes.Name = r.Resource, r.Subresource, r.Name
	default:
		attributes.Verb, attributes.Path = n.Verb, n.Path
	}
	decision, reason, err := a.Authorize(ctx, attributes)
	status := authorizationv1.SubjectAccessReviewStatus{
		Allowed: decision == authorizer.DecisionAllow, Denied: decision == authorizer.DecisionDeny, Reason: reason,
	}
	if err != nil {
		status.EvaluationError = fmt.Sprint(err)
	}
	return status, nil
}
