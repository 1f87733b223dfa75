package k8sevents

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

type eventReceiver struct {
	config  *Config
	logger  *zap.Logger
	next    consumer.Logs
	started time.Time
	stop    context.CancelFunc
	watches sync.WaitGroup
}

// Start begins to watch. Whether the API server answers shows later: the watch tries again by itself, and says so in the log.
func (events *eventReceiver) Start(_ context.Context, _ component.Host) error {
	access, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(access)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	events.stop = stop
	events.started = time.Now()
	namespaces := events.config.Namespaces
	if len(namespaces) == 0 {
		namespaces = []string{corev1.NamespaceAll}
	}
	for _, namespace := range namespaces {
		events.watch(ctx, client, namespace)
	}
	return nil
}

// Shutdown returns when no watch sends anything any more.
func (events *eventReceiver) Shutdown(context.Context) error {
	if events.stop != nil {
		events.stop()
	}
	events.watches.Wait()
	return nil
}

func (events *eventReceiver) watch(ctx context.Context, client kubernetes.Interface, namespace string) {
	source := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "events", namespace, fields.Everything())
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: source,
		ObjectType:    &corev1.Event{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc: func(object any) { events.send(ctx, object) },
			// an event that happens again is the same object with a higher count
			UpdateFunc: func(_, object any) { events.send(ctx, object) },
		},
	})
	events.watches.Add(1)
	go func() {
		defer events.watches.Done()
		controller.Run(ctx.Done())
	}()
}

// What was there before the start has been read by whoever ran before.
func (events *eventReceiver) send(ctx context.Context, object any) {
	event, isEvent := object.(*corev1.Event)
	if !isEvent || timeOf(event).Before(events.started) {
		return
	}
	if err := events.next.ConsumeLogs(ctx, logsOf(event)); err != nil {
		events.logger.Error("An event was not taken", zap.String("event", event.Name), zap.Error(err))
	}
}
