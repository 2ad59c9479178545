"""Makes what was planned: reads the sources, renders the samples, writes them.

- `build`: `composite`, the whole way from options to a data set; start reading here
- `executors`: threads of this process, or one part of several runs; `dask_executor`: a Dask cluster
- `worker`: makes the samples of one foreground; `render`: recipe and pixels to a sample, pure
- `on_the_fly`: samples of a plan for training, without a composite on the disk
- `estimate`: the size of a data set before it is made; `trimaps`: trimaps for a folder of alphas; `mattes`: alphas
  from masks
"""
