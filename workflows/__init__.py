"""RTpipeline on a cluster: the stage table as Argo workflows, and the commands that start and follow them."""
