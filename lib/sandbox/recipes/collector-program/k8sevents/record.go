package k8sevents

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	corev1 "k8s.io/api/core/v1"
)

// timeOf is when an event happened last. Which field says so depends on the library that reported it.
func timeOf(event *corev1.Event) time.Time {
	for _, at := range []time.Time{event.LastTimestamp.Time, event.EventTime.Time, event.FirstTimestamp.Time} {
		if !at.IsZero() {
			return at
		}
	}
	return event.CreationTimestamp.Time
}

func logsOf(event *corev1.Event) plog.Logs {
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	object := event.InvolvedObject
	putAll(resource.Resource().Attributes(), map[string]string{
		"k8s.node.name":               event.Source.Host,
		"k8s.object.kind":             object.Kind,
		"k8s.object.name":             object.Name,
		"k8s.object.uid":              string(object.UID),
		"k8s.object.fieldpath":        object.FieldPath,
		"k8s.object.api_version":      object.APIVersion,
		"k8s.object.resource_version": object.ResourceVersion,
	})
	record := resource.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	record.SetTimestamp(pcommon.NewTimestampFromTime(timeOf(event)))
	record.Body().SetStr(event.Message)
	switch event.Type {
	case corev1.EventTypeNormal:
		record.SetSeverityNumber(plog.SeverityNumberInfo)
		record.SetSeverityText(event.Type)
	case corev1.EventTypeWarning:
		record.SetSeverityNumber(plog.SeverityNumberWarn)
		record.SetSeverityText(event.Type)
	}
	attributes := record.Attributes()
	putAll(attributes, map[string]string{
		"k8s.event.reason":     event.Reason,
		"k8s.event.action":     event.Action,
		"k8s.event.start_time": event.CreationTimestamp.String(),
		"k8s.event.name":       event.Name,
		"k8s.event.uid":        string(event.UID),
		"k8s.namespace.name":   object.Namespace,
	})
	if event.Count != 0 {
		attributes.PutInt("k8s.event.count", int64(event.Count))
	}
	return logs
}

func putAll(attributes pcommon.Map, values map[string]string) {
	for name, value := range values {
		attributes.PutStr(name, value)
	}
}
